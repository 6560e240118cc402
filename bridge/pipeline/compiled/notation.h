/* The notation of a line: texts, numbers and null, as far as they are plain (RFC 8259). */
#ifndef NOTATION_H
#define NOTATION_H

#include "buffers.h"

typedef struct {
    const char *at, *end;
} Cursor;

typedef struct {
    const char *at;
    size_t size;
} Text;

/* A number: its digits without point and sign, modulo 2^64, and how many there are in all and behind the point. */
typedef struct {
    Text text;
    uint64_t magnitude;
    size_t digits, places;
    bool negative, fraction, exponent;
} Number;

static inline bool is_blank(char byte) { return byte == ' ' || byte == '\t' || byte == '\r'; }

static inline bool take(Cursor *cursor, char byte) {
    while (cursor->at < cursor->end) {
        if (*cursor->at == byte) {
            cursor->at++;
            return true;
        }
        if (!is_blank(*cursor->at)) {
            return false;
        }
        cursor->at++;
    }
    return false;
}

/* Skip blanks; return the byte that follows, or 0 at the end of the frame (which no line may have). */
static inline char next_byte(Cursor *cursor) {
    while (cursor->at < cursor->end && is_blank(*cursor->at)) {
        cursor->at++;
    }
    return cursor->at < cursor->end ? *cursor->at : '\0';
}

static inline bool is_plain(unsigned char byte) { return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\'; }

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Mark the bytes of a word that are not plain, by their highest bit; above the lowest such byte others may be marked. */
static inline uint64_t mark_odd_bytes(uint64_t word) {
    uint64_t quotes = word ^ EACH_BYTE('"'), escapes = word ^ EACH_BYTE('\\'), deletes = word ^ EACH_BYTE(0x7f);
    uint64_t marks = (word - EACH_BYTE(0x20)) & ~word;
    marks |= ((quotes - EACH_BYTE(1)) & ~quotes) | ((escapes - EACH_BYTE(1)) & ~escapes);
    marks |= ((deletes - EACH_BYTE(1)) & ~deletes) | word;
    return marks & EACH_BYTE(0x80);
}

/* Return where the plain bytes from here on end. */
static inline const char *end_of_plain(const char *at, const char *end) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t marks = mark_odd_bytes(word);
        if (marks) {
            return at + __builtin_ctzll(marks) / 8;
        }
    }
#endif
    while (at < end && is_plain((unsigned char)*at)) {
        at++;
    }
    return at;
}

/* Take a text of printable ASCII without escapes. */
static bool take_text(Cursor *cursor, Text *text) {
    if (!take(cursor, '"')) {
        return false;
    }
    const char *end = end_of_plain(cursor->at, cursor->end);
    if (end == cursor->end || *end != '"') {
        return false;
    }
    *text = (Text){cursor->at, (size_t)(end - cursor->at)};
    cursor->at = end + 1;
    return true;
}

/* Take a text if it is this one, which is plain; otherwise leave it there. */
static inline bool take_this(Cursor *cursor, Text text) {
    const char *at = cursor->at;
    if ((size_t)(cursor->end - at) < text.size + 2 || *at != '"' || memcmp(at + 1, text.at, text.size) != 0 ||
        at[text.size + 1] != '"') {
        return false;
    }
    cursor->at = at + text.size + 2;
    return true;
}

static bool take_null(Cursor *cursor) {
    if (cursor->end - cursor->at < 4 || memcmp(cursor->at, "null", 4) != 0) {
        return false;
    }
    cursor->at += 4;
    return true;
}

static inline bool equals(Text text, Text other) {
    return text.size == other.size && memcmp(text.at, other.at, text.size) == 0;
}

static inline size_t take_digits(Cursor *cursor, Number *number) {
    const char *start = cursor->at;
    while (cursor->at < cursor->end) {
        unsigned digit = (unsigned)(unsigned char)*cursor->at - '0';
        if (digit > 9) {
            break;
        }
        number->magnitude = number->magnitude * 10 + digit;
        cursor->at++;
    }
    size_t digits = (size_t)(cursor->at - start);
    number->digits += digits;
    return digits;
}

/* Take a number as texts and rows have it: digits with at most one point among them, and at most a minus before. */
static bool take_loose_number(Cursor *cursor, Number *number) {
    *number = (Number){.text = {cursor->at, 0}};
    if (cursor->at < cursor->end && *cursor->at == '-') {
        number->negative = true;
        cursor->at++;
    }
    take_digits(cursor, number);
    if (cursor->at < cursor->end && *cursor->at == '.') {
        number->fraction = true;
        cursor->at++;
        number->places = take_digits(cursor, number);
    }
    number->text.size = (size_t)(cursor->at - number->text.at);
    return number->digits > 0;
}

/* Take a number of JSON (RFC 8259 section 6). "-0" is left to Python: whether it is an integer is the decoder's choice. */
static bool take_number(Cursor *cursor, Number *number) {
    if (!take_loose_number(cursor, number)) {
        return false;
    }
    const char *first = number->text.at + number->negative;
    size_t whole = number->digits - number->places;
    if (whole == 0 || (whole > 1 && *first == '0') || (number->fraction && number->places == 0)) {
        return false;
    }
    if (cursor->at < cursor->end && (*cursor->at == 'e' || *cursor->at == 'E')) {
        Number exponent = {.text = {NULL, 0}};
        number->exponent = true;
        cursor->at++;
        if (cursor->at < cursor->end && (*cursor->at == '+' || *cursor->at == '-')) {
            cursor->at++;
        }
        if (take_digits(cursor, &exponent) == 0) {
            return false;
        }
        number->text.size = (size_t)(cursor->at - number->text.at);
    }
    return !number->negative || number->fraction || number->exponent || whole > 1 || *first != '0';
}

static bool is_loose_number(Text text, Number *number) {
    Cursor cursor = {text.at, text.at + text.size};
    return take_loose_number(&cursor, number) && cursor.at == cursor.end;
}

#endif
