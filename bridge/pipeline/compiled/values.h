/* Values as they are encoded: what converters.py, decimals.py and timestamps.py make of the same, if it is plain. */
#ifndef VALUES_H
#define VALUES_H

#include "notation.h"

/* What functions return that may leave a line to Python. FAILED: a Python exception is set. */
typedef enum { FAILED = -1, UNUSUAL = 0, PLAIN = 1 } Outcome;

#define MAX_DIGITS 18 /* any number of so many digits fits into 64 bits, and is below the limit of decimal(18, n) */
#define MAX_NUMBER_BYTES 64
#define MAX_EXACT_DOUBLE (UINT64_C(1) << 53)
#define MAX_EXACT_PLACES 22 /* 10^22 is the largest power of ten that is exact as a double */
#define NUMBER_BYTES 16     /* the longest encoding of a number, with its branch and length */

static const uint64_t POWERS[MAX_DIGITS + 1] = {
    UINT64_C(1), UINT64_C(10), UINT64_C(100), UINT64_C(1000), UINT64_C(10000), UINT64_C(100000), UINT64_C(1000000),
    UINT64_C(10000000), UINT64_C(100000000), UINT64_C(1000000000), UINT64_C(10000000000), UINT64_C(100000000000),
    UINT64_C(1000000000000), UINT64_C(10000000000000), UINT64_C(100000000000000), UINT64_C(1000000000000000),
    UINT64_C(10000000000000000), UINT64_C(100000000000000000), UINT64_C(1000000000000000000)};
static const double EXACT_POWERS[MAX_EXACT_PLACES + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                          1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                          1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static Outcome put_decimal(Buffer *buffer, const Number *number, unsigned scale, bool may_be_negative) {
    if (number->exponent || number->digits > MAX_DIGITS || number->places > scale) {
        return UNUSUAL;
    }
    unsigned missing = scale - (unsigned)number->places;
    if (number->magnitude >= POWERS[MAX_DIGITS - missing]) {
        return UNUSUAL;
    }
    int64_t unscaled = (int64_t)(number->magnitude * POWERS[missing]);
    if (number->negative) {
        if (unscaled != 0 && !may_be_negative) {
            return UNUSUAL;
        }
        unscaled = -unscaled;
    }
    uint64_t magnitude = (uint64_t)(unscaled < 0 ? ~unscaled : unscaled);
    unsigned bits = magnitude ? 64 - (unsigned)__builtin_clzll(magnitude) : 0, size = bits / 8 + 1;
    put(buffer, (unsigned char)(size << 1));
    for (unsigned place = size; place-- > 0;) {
        put(buffer, (unsigned char)((uint64_t)unscaled >> (8 * place)));
    }
    return PLAIN;
}

static Outcome put_whole(Buffer *buffer, const Number *number, bool may_be_negative) {
    if (number->exponent || number->digits > MAX_DIGITS || number->magnitude % POWERS[number->places] != 0) {
        return UNUSUAL;
    }
    int64_t whole = (int64_t)(number->magnitude / POWERS[number->places]);
    if (number->negative && whole != 0 && !may_be_negative) {
        return UNUSUAL;
    }
    put_long(buffer, number->negative ? -whole : whole);
    return PLAIN;
}

static Outcome put_double(Buffer *buffer, const Number *number) {
    double value;
    if (!number->exponent && number->digits <= MAX_DIGITS && number->magnitude < MAX_EXACT_DOUBLE) {
        /* Both are exact, so their quotient is rounded once, as IEEE 754 has it. */
        value = (double)number->magnitude / EXACT_POWERS[number->places];
        value = number->negative ? -value : value;
    } else {
        char text[MAX_NUMBER_BYTES + 1];
        if (number->text.size > MAX_NUMBER_BYTES) {
            return UNUSUAL;
        }
        memcpy(text, number->text.at, number->text.size);
        text[number->text.size] = '\0';
        value = PyOS_string_to_double(text, NULL, NULL);
        if (value == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return UNUSUAL;
        }
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits >> 52 & 0x7ff) == 0x7ff) {
        return UNUSUAL; /* infinite */
    }
    for (unsigned place = 0; place < 8; place++) {
        put(buffer, (unsigned char)(bits >> (8 * place)));
    }
    return PLAIN;
}

#define MAX_MS INT64_C(9223372036854) /* 2^63 - 1 nanoseconds */

static Outcome put_ms(Buffer *buffer, int64_t ms) {
    if (ms <= 0 || ms > MAX_MS) {
        return UNUSUAL;
    }
    put_long(buffer, ms);
    return PLAIN;
}

/* The magnitude of an epoch number tells its unit. */
static Outcome put_epoch(Buffer *buffer, const Number *number) {
    if (number->negative || number->fraction || number->exponent || number->digits > MAX_DIGITS) {
        return UNUSUAL;
    }
    int64_t value = (int64_t)number->magnitude;
    if (value < INT64_C(10000000000)) {
        value *= 1000;
    } else if (value >= INT64_C(10000000000000000)) {
        value /= 1000000;
    } else if (value >= INT64_C(10000000000000)) {
        value /= 1000;
    }
    return put_ms(buffer, value);
}

/* Read so many digits; -1 if there are others among them. */
static int read_digits(const char *at, int count) {
    int number = 0;
    for (int place = 0; place < count; place++) {
        unsigned digit = (unsigned)(unsigned char)at[place] - '0';
        if (digit > 9) {
            return -1;
        }
        number = number * 10 + (int)digit;
    }
    return number;
}

/* Return the days from 1970-01-01 to a valid date: years start in March, so that the leap day is their last. */
static int64_t days_since_1970(int year, int month, int day) {
    year -= month <= 2;
    int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return (int64_t)year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719468;
}

/* Read 2025-06-25T04:12:14.327-04:00, with 0, 3, 6 or 9 digits behind the second, and Z or an offset. */
static Outcome put_iso_time(Buffer *buffer, Text text) {
    static const int DAYS[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (text.size < 20 || text.size > 35) {
        return UNUSUAL;
    }
    const char *at = text.at, *end = at + text.size;
    int year = read_digits(at, 4), month = read_digits(at + 5, 2), day = read_digits(at + 8, 2);
    int hour = read_digits(at + 11, 2), minute = read_digits(at + 14, 2), second = read_digits(at + 17, 2);
    if (at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' || at[16] != ':') {
        return UNUSUAL;
    }
    if (year < 1970 || month < 1 || month > 12 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 ||
        second > 59) {
        return UNUSUAL;
    }
    bool is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day < 1 || day > DAYS[month - 1] + (month == 2 && is_leap)) {
        return UNUSUAL;
    }
    at += 19;
    int ms = 0;
    if (*at == '.') {
        Number fraction = {.text = {NULL, 0}};
        Cursor cursor = {at + 1, end};
        size_t digits = take_digits(&cursor, &fraction);
        if (digits != 3 && digits != 6 && digits != 9) {
            return UNUSUAL;
        }
        ms = read_digits(at + 1, 3);
        at = cursor.at;
    }
    int offset_minutes = 0;
    if (end - at == 6 && (*at == '+' || *at == '-') && at[3] == ':') {
        int hours = read_digits(at + 1, 2), minutes = read_digits(at + 4, 2);
        if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) {
            return UNUSUAL;
        }
        offset_minutes = (hours * 60 + minutes) * (*at == '-' ? -1 : 1);
    } else if (end - at != 1 || *at != 'Z') {
        return UNUSUAL;
    }
    int64_t minutes = days_since_1970(year, month, day) * 1440 + hour * 60 + minute - offset_minutes;
    return put_ms(buffer, (minutes * 60 + second) * 1000 + ms);
}

#endif
