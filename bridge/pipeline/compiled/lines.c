/* From the bytes of usual lines to their queued Avro records, in one pass.
 *
 * What a record looks like is not said here: Python hands over the fields of each kind of update and the slots of each
 * record, made from the tables and schemas that its own encoder uses (plan.py). Python is also the judge: a line is taken
 * here only if it is plain in every way, and then the records, accounts and states are those that Python would make.
 * Whatever is unusual (a name or word that is not in the plan, an escape, a duplicate key, a number of many digits, a
 * value that cannot be read, a queue without room) is left to it, untouched.
 *
 * Memory: every read is checked against the end of its frame, every write is preceded by reserve(); lines are only
 * compared with and copied from, never kept. The stable ABI of Python 3.11 is used, so one build serves all later ones.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* What functions return that may leave a line to Python. FAILED: a Python exception is set. */
typedef enum { FAILED = -1, UNUSUAL = 0, PLAIN = 1 } Outcome;

#define MAX_FIELDS 64 /* bits of the set of fields that a line had */
#define MAX_TOPICS 4  /* records that a line may become */
#define MAX_COLUMNS 8
#define MAX_KEYS 4 /* keys with fixed words beside the data of an update */
#define MAX_SYMBOL_BYTES 64
#define MAX_DIGITS 18 /* any number of so many digits fits into 64 bits, and is below the limit of decimal(18, n) */
#define MAX_NUMBER_BYTES 64
#define MAX_EXACT_DOUBLE (UINT64_C(1) << 53)
#define MAX_EXACT_PLACES 22 /* 10^22 is the largest power of ten that is exact as a double */
#define NUMBER_BYTES 16     /* the longest encoding of a number, with its branch and length */

/* How a value is read and encoded: the converter of the field, and its Avro type. */
typedef enum { SYMBOL, PRICE, CHANGE, SIZE, SIZE_CHANGE, DOUBLE, STRING, TIME, ROWS, VALUE_TYPES } ValueType;
/* What a slot of a record is filled with. */
typedef enum { LITERAL, SYMBOL_SLOT, INGEST_TIME, SESSION, SEQ, AFTER_GAP, FEED_TIME, FIELD, CLEARED, SLOT_TYPES } SlotType;

static const uint64_t POWERS[MAX_DIGITS + 1] = {
    UINT64_C(1), UINT64_C(10), UINT64_C(100), UINT64_C(1000), UINT64_C(10000), UINT64_C(100000), UINT64_C(1000000),
    UINT64_C(10000000), UINT64_C(100000000), UINT64_C(1000000000), UINT64_C(10000000000), UINT64_C(100000000000),
    UINT64_C(1000000000000), UINT64_C(10000000000000), UINT64_C(100000000000000), UINT64_C(1000000000000000),
    UINT64_C(10000000000000000), UINT64_C(100000000000000000), UINT64_C(1000000000000000000)};
static const double EXACT_POWERS[MAX_EXACT_PLACES + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                          1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                          1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* -- buffers ------------------------------------------------------------------------------------------------------ */

typedef struct {
    unsigned char *data;
    size_t used, size;
} Buffer;

static bool grow(Buffer *buffer, size_t more) {
    size_t size = buffer->size ? buffer->size : 1024;
    while (size - buffer->used < more) {
        if (size > SIZE_MAX / 4) {
            PyErr_NoMemory();
            return false;
        }
        size *= 2;
    }
    unsigned char *data = PyMem_Realloc(buffer->data, size);
    if (data == NULL) {
        PyErr_NoMemory();
        return false;
    }
    buffer->data = data;
    buffer->size = size;
    return true;
}

/* Make room for so many bytes; false: MemoryError is set. */
static inline bool reserve(Buffer *buffer, size_t more) {
    return buffer->size - buffer->used >= more || grow(buffer, more);
}

static inline void put(Buffer *buffer, unsigned char byte) { buffer->data[buffer->used++] = byte; }

static inline void put_long(Buffer *buffer, int64_t number) {
    uint64_t rest = ((uint64_t)number << 1) ^ (uint64_t)(number >> 63);
    while (rest >= 0x80) {
        put(buffer, (unsigned char)(rest | 0x80));
        rest >>= 7;
    }
    put(buffer, (unsigned char)rest);
}

static inline bool put_bytes(Buffer *buffer, const void *data, size_t size) {
    if (!reserve(buffer, size)) {
        return false;
    }
    memcpy(buffer->data + buffer->used, data, size);
    buffer->used += size;
    return true;
}

/* -- the notation of a line --------------------------------------------------------------------------------------- */

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

/* Take a text of printable ASCII without escapes. */
static bool take_text(Cursor *cursor, Text *text) {
    if (!take(cursor, '"')) {
        return false;
    }
    const char *at = cursor->at;
    while (at < cursor->end && is_plain((unsigned char)*at)) {
        at++;
    }
    if (at == cursor->end || *at != '"') {
        return false;
    }
    *text = (Text){cursor->at, (size_t)(at - cursor->at)};
    cursor->at = at + 1;
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

/* -- values: the converters of converters.py, decimals.py and timestamps.py for what is plain --------------------- */

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

/* -- the plan ----------------------------------------------------------------------------------------------------- */

/* Bytes of an object that the plan keeps. */
typedef struct {
    PyObject *owner;
    Text text;
} Name;

typedef struct {
    ValueType type;
    unsigned scale;
    bool required;
    unsigned feed_position;
} Column;

typedef struct {
    Name name;
    ValueType type;
    unsigned scale;
    unsigned own_topics;      /* bits of the topics that get a record because of this field */
    Name cleared[MAX_TOPICS]; /* the encoded name of the record's field, if that topic's records name what is cleared */
    Column columns[MAX_COLUMNS]; /* of rows, in the order of the record */
    unsigned column_count;
    unsigned next; /* the field that came behind this one in the last line that had it */
} Field;

typedef struct {
    SlotType type;
    unsigned field;
    Name literal;
} Slot;

typedef struct {
    PyObject *topic;
    Slot *slots;
    unsigned slot_count;
    int required; /* the field without which there is no record, or -1 */
    bool conflates, left_to_python;
    bool seen; /* in the present call */
    Name prefix;
} Record;

typedef struct {
    Field fields[MAX_FIELDS];
    unsigned field_count, first;
    Record records[MAX_TOPICS];
    unsigned record_count;
    PyObject *topics[1 << MAX_TOPICS]; /* the key of the routes, by the bits of the topics */
} Layout;

typedef struct {
    Name word;
    unsigned layout;
} Kind;

/* A key that must have one of a few words, or null. */
typedef struct {
    Name key;
    Name words[MAX_KEYS];
    unsigned word_count;
    bool may_be_null;
    bool in_holder;
} FixedKey;

typedef struct {
    Name holder, type, data, feed_time; /* the holder has no owner if the update is not inside another object */
    FixedKey fixed[MAX_KEYS];
    unsigned fixed_count;
} Shape;

/* What a field of the present line has: where its encoded value is, or that it is null. */
typedef struct {
    size_t start, end;
    size_t rows;
    bool is_null;
} Value;

typedef struct {
    Layout *layout;
    Text symbol;
    uint64_t seen;
    unsigned topics;
    Value values[MAX_FIELDS];
    unsigned nulls[MAX_FIELDS]; /* the fields that are null, in their order */
    unsigned null_count;
    size_t feed_time_start, feed_time_end;
} Line;

typedef struct {
    PyObject_HEAD
    Shape shape;
    Kind *kinds;
    unsigned kind_count;
    Layout *layouts;
    unsigned layout_count;
    Name no_texts[MAX_COLUMNS];
    unsigned no_text_count;
    size_t max_no_text_bytes;
    Py_ssize_t max_rows, max_record_bytes, record_overhead_bytes;
    PyObject *routes, *buffer, *accounts, *overload, *last_data;
    bool busy;
    Line line;
    Buffer values, record;
} LineEncoder;

/* The names of attributes: those of SymbolStream, PartitionQueue, RecordBuffer, Accounts and Overload. */
#define ATTRIBUTES(X)                                                                                                  \
    X(topic) X(queue) X(key) X(symbol_bytes) X(session_bytes) X(seq) X(after_gap)                                       \
    X(is_overloaded) X(has_conflated) X(is_stalled) X(waiting) X(bytes) X(is_ready) X(in_flight)                        \
    X(budget_bytes) X(make_ready) X(lines_received) X(split) X(pending) X(active) X(announced)                          \
    X(append) X(popleft)
#define DECLARE(name) static PyObject *attr_##name;
ATTRIBUTES(DECLARE)

/* -- from a line to its values ------------------------------------------------------------------------------------ */

static bool says_no_text(const LineEncoder *self, Text text) {
    if (text.size > self->max_no_text_bytes) {
        return false;
    }
    for (unsigned place = 0; place < self->no_text_count; place++) {
        Text other = self->no_texts[place].text;
        size_t same = 0;
        if (other.size != text.size) {
            continue;
        }
        while (same < text.size) {
            char byte = text.at[same];
            if ((byte >= 'A' && byte <= 'Z' ? (char)(byte + 32) : byte) != other.at[same]) {
                break;
            }
            same++;
        }
        if (same == text.size) {
            return true;
        }
    }
    return false;
}

static Outcome put_string(LineEncoder *self, Text text) {
    if (says_no_text(self, text)) {
        return UNUSUAL;
    }
    if (!reserve(&self->values, text.size + NUMBER_BYTES)) {
        return FAILED;
    }
    put_long(&self->values, (int64_t)text.size);
    return put_bytes(&self->values, text.at, text.size) ? PLAIN : FAILED;
}

static Outcome put_number(LineEncoder *self, ValueType type, unsigned scale, const Number *number) {
    switch (type) {
    case PRICE:
        return put_decimal(&self->values, number, scale, false);
    case CHANGE:
        return put_decimal(&self->values, number, scale, true);
    case SIZE:
        return put_whole(&self->values, number, false);
    case SIZE_CHANGE:
        return put_whole(&self->values, number, true);
    case DOUBLE:
        return put_double(&self->values, number);
    case TIME:
        return put_epoch(&self->values, number);
    case STRING:
        return put_string(self, number->text);
    default:
        return UNUSUAL;
    }
}

/* Take a text or number, and encode it as the second branch of a union with null. */
static Outcome take_value(LineEncoder *self, Cursor *cursor, ValueType type, unsigned scale) {
    Number number;
    Text text;
    if (!reserve(&self->values, NUMBER_BYTES)) {
        return FAILED;
    }
    put(&self->values, 2);
    if (next_byte(cursor) != '"') {
        return take_number(cursor, &number) ? put_number(self, type, scale, &number) : UNUSUAL;
    }
    if (!take_text(cursor, &text)) {
        return UNUSUAL;
    }
    if (type == STRING) {
        return put_string(self, text);
    }
    if (is_loose_number(text, &number)) {
        return put_number(self, type, scale, &number);
    }
    return type == TIME ? put_iso_time(&self->values, text) : UNUSUAL;
}

/* Take one row, a text of columns with colons between them. */
static Outcome take_row(LineEncoder *self, Cursor *cursor, const Field *field) {
    Number numbers[MAX_COLUMNS];
    Text texts[MAX_COLUMNS];
    bool textual[MAX_COLUMNS] = {false};
    unsigned last = field->column_count - 1;
    for (unsigned place = 0; place <= last; place++) {
        textual[field->columns[place].feed_position] = field->columns[place].type == STRING;
    }
    if (!take(cursor, '"')) {
        return UNUSUAL;
    }
    for (unsigned place = 0; place <= last; place++) {
        const char *start = cursor->at;
        if (textual[place]) {
            while (cursor->at < cursor->end && *cursor->at != ':' && is_plain((unsigned char)*cursor->at)) {
                cursor->at++;
            }
        } else if (!take_loose_number(cursor, &numbers[place]) && cursor->at != start) {
            return UNUSUAL;
        }
        texts[place] = (Text){start, (size_t)(cursor->at - start)};
        if (cursor->at == cursor->end || *cursor->at != (place < last ? ':' : '"')) {
            return UNUSUAL;
        }
        cursor->at++;
    }
    for (unsigned place = 0; place <= last; place++) {
        const Column *column = &field->columns[place];
        Text text = texts[column->feed_position];
        if (!reserve(&self->values, NUMBER_BYTES)) {
            return FAILED;
        }
        if (text.size == 0) {
            if (column->required) {
                return UNUSUAL;
            }
            put(&self->values, 0);
            continue;
        }
        if (!column->required) {
            put(&self->values, 2);
        }
        Outcome outcome = column->type == STRING
                              ? put_string(self, text)
                              : put_number(self, column->type, column->scale, &numbers[column->feed_position]);
        if (outcome != PLAIN) {
            return outcome;
        }
    }
    return PLAIN;
}

static Outcome take_rows(LineEncoder *self, Cursor *cursor, const Field *field, Value *value) {
    if (!take(cursor, '[')) {
        return UNUSUAL;
    }
    if (take(cursor, ']')) {
        value->is_null = true; /* none is the same as null: there are none any more */
        return PLAIN;
    }
    do {
        Outcome outcome = take_row(self, cursor, field);
        if (outcome != PLAIN) {
            return outcome;
        }
        if (++value->rows > (size_t)self->max_rows) {
            return UNUSUAL;
        }
    } while (take(cursor, ','));
    return take(cursor, ']') ? PLAIN : UNUSUAL;
}

/* Find a field by its name, first where it was in the last line. */
static inline int find_field(Layout *layout, Text name, int before) {
    unsigned *guess = before < 0 ? &layout->first : &layout->fields[before].next;
    if (equals(layout->fields[*guess].name.text, name)) {
        return (int)*guess;
    }
    for (unsigned place = 0; place < layout->field_count; place++) {
        if (equals(layout->fields[place].name.text, name)) {
            *guess = place;
            return (int)place;
        }
    }
    return -1;
}

/* Take the object with the fields of an update. */
static Outcome take_data(LineEncoder *self, Cursor *cursor) {
    Line *line = &self->line;
    Layout *layout = line->layout;
    int place = -1;
    if (!take(cursor, '{')) {
        return UNUSUAL;
    }
    do {
        Text name;
        if (!take_text(cursor, &name) || !take(cursor, ':')) {
            return UNUSUAL;
        }
        place = find_field(layout, name, place);
        if (place < 0 || line->seen >> place & 1) {
            return UNUSUAL; /* unknown, or for the second time */
        }
        const Field *field = &layout->fields[place];
        line->seen |= UINT64_C(1) << place;
        line->topics |= field->own_topics;
        if (field->type == SYMBOL) {
            if (!take_text(cursor, &line->symbol)) {
                return UNUSUAL;
            }
            continue;
        }
        Value *value = &line->values[place];
        *value = (Value){.start = self->values.used};
        Outcome outcome = PLAIN;
        if (next_byte(cursor) == 'n') {
            value->is_null = take_null(cursor);
            outcome = value->is_null ? PLAIN : UNUSUAL;
        } else if (field->type == ROWS) {
            outcome = take_rows(self, cursor, field, value);
        } else {
            outcome = take_value(self, cursor, field->type, field->scale);
        }
        if (outcome != PLAIN) {
            return outcome;
        }
        value->end = self->values.used;
        if (value->is_null) {
            line->nulls[line->null_count++] = (unsigned)place;
        }
    } while (take(cursor, ','));
    return take(cursor, '}') ? PLAIN : UNUSUAL;
}

static Outcome take_kind(LineEncoder *self, Cursor *cursor) {
    Text word;
    if (self->line.layout != NULL || !take_text(cursor, &word)) {
        return UNUSUAL;
    }
    for (unsigned place = 0; place < self->kind_count; place++) {
        if (equals(self->kinds[place].word.text, word)) {
            self->line.layout = &self->layouts[self->kinds[place].layout];
            return PLAIN;
        }
    }
    return UNUSUAL;
}

static Outcome take_feed_time(LineEncoder *self, Cursor *cursor) {
    self->line.feed_time_start = self->values.used;
    if (next_byte(cursor) == 'n') {
        if (!take_null(cursor) || !reserve(&self->values, 1)) {
            return PyErr_Occurred() ? FAILED : UNUSUAL;
        }
        put(&self->values, 0);
    } else {
        Outcome outcome = take_value(self, cursor, TIME, 0);
        if (outcome != PLAIN) {
            return outcome;
        }
    }
    self->line.feed_time_end = self->values.used;
    return PLAIN;
}

static Outcome take_fixed(const FixedKey *fixed, Cursor *cursor) {
    Text word;
    if (next_byte(cursor) == 'n') {
        return fixed->may_be_null && take_null(cursor) ? PLAIN : UNUSUAL;
    }
    if (!take_text(cursor, &word)) {
        return UNUSUAL;
    }
    for (unsigned place = 0; place < fixed->word_count; place++) {
        if (equals(fixed->words[place].text, word)) {
            return PLAIN;
        }
    }
    return UNUSUAL;
}

enum { HOLDER_SEEN = 1, DATA_SEEN = 2, FEED_TIME_SEEN = 4, FIXED_SEEN = 8 };

/* Take an object of the shape: the whole line, or the one that holds the update. */
static Outcome take_object(LineEncoder *self, Cursor *cursor, unsigned *seen, bool is_holder) {
    const Shape *shape = &self->shape;
    bool has_update = is_holder || shape->holder.owner == NULL;
    if (!take(cursor, '{')) {
        return UNUSUAL;
    }
    do {
        Text key;
        Outcome outcome = UNUSUAL;
        unsigned bit = 0;
        if (!take_text(cursor, &key) || !take(cursor, ':')) {
            return UNUSUAL;
        }
        for (unsigned place = 0; place < shape->fixed_count; place++) {
            if (shape->fixed[place].in_holder == is_holder && equals(shape->fixed[place].key.text, key)) {
                bit = FIXED_SEEN << place;
                outcome = take_fixed(&shape->fixed[place], cursor);
                break;
            }
        }
        if (bit == 0 && !has_update && equals(shape->holder.text, key)) {
            bit = HOLDER_SEEN;
            outcome = *seen & bit ? UNUSUAL : take_object(self, cursor, seen, true);
        } else if (bit != 0 || !has_update) {
            /* a fixed key, or an unknown one */
        } else if (equals(shape->type.text, key)) {
            outcome = take_kind(self, cursor);
        } else if (equals(shape->data.text, key)) {
            bit = DATA_SEEN;
            outcome = *seen & bit || self->line.layout == NULL ? UNUSUAL : take_data(self, cursor);
        } else if (equals(shape->feed_time.text, key)) {
            bit = FEED_TIME_SEEN;
            outcome = take_feed_time(self, cursor);
        }
        if (outcome != PLAIN) {
            return outcome;
        }
        if (*seen & bit) {
            return UNUSUAL;
        }
        *seen |= bit;
    } while (take(cursor, ','));
    return take(cursor, '}') ? PLAIN : UNUSUAL;
}

/* Take a line up to its end, which is that of the frame or a line feed. */
static Outcome take_line(LineEncoder *self, Cursor *cursor) {
    Line *line = &self->line;
    const Shape *shape = &self->shape;
    unsigned seen = 0;
    line->layout = NULL;
    line->symbol = (Text){NULL, 0};
    line->seen = 0;
    line->topics = line->null_count = 0;
    line->feed_time_start = line->feed_time_end = 0;
    self->values.used = 0;
    Outcome outcome = take_object(self, cursor, &seen, false);
    if (outcome != PLAIN) {
        return outcome;
    }
    if (next_byte(cursor) != '\n' && cursor->at != cursor->end) {
        return UNUSUAL;
    }
    for (unsigned place = 0; place < shape->fixed_count; place++) {
        if (!shape->fixed[place].may_be_null && !(seen & FIXED_SEEN << place)) {
            return UNUSUAL;
        }
    }
    bool has_symbol = line->symbol.size > 0 && line->symbol.size <= MAX_SYMBOL_BYTES;
    return seen & DATA_SEEN && has_symbol && line->topics ? PLAIN : UNUSUAL;
}

/* -- from values to a record -------------------------------------------------------------------------------------- */

/* One record to queue, and what belongs to it. */
typedef struct {
    Record *record;
    PyObject *stream, *queue, *item;
    int64_t seq;
    Py_ssize_t cost_bytes;
    bool after_gap;
} Queued;

/* What a call of ``take`` counts, until it is written to the accounts. */
typedef struct {
    PyObject *ingest_us;
    Buffer ingest_time;
    Py_ssize_t lines, split, records, bytes, bytes_left;
} Call;

static bool put_object(Buffer *buffer, PyObject *owner, PyObject *name) {
    PyObject *data = PyObject_GetAttr(owner, name);
    char *at;
    Py_ssize_t size;
    bool done = data != NULL && PyBytes_AsStringAndSize(data, &at, &size) == 0 && put_bytes(buffer, at, (size_t)size);
    Py_XDECREF(data);
    return done;
}

static bool put_cleared(LineEncoder *self, unsigned topic) {
    const Line *line = &self->line;
    Buffer *buffer = &self->record;
    unsigned count = 0;
    for (unsigned place = 0; place < line->null_count; place++) {
        count += line->layout->fields[line->nulls[place]].cleared[topic].owner != NULL;
    }
    if (!reserve(buffer, 2 * NUMBER_BYTES)) {
        return false;
    }
    if (count) {
        put_long(buffer, count);
        for (unsigned place = 0; place < line->null_count; place++) {
            Name name = line->layout->fields[line->nulls[place]].cleared[topic];
            if (name.owner != NULL && !put_bytes(buffer, name.text.at, name.text.size)) {
                return false;
            }
        }
    }
    if (!reserve(buffer, 1)) {
        return false;
    }
    put(buffer, 0);
    return true;
}

static bool put_field(LineEncoder *self, unsigned place) {
    const Line *line = &self->line;
    const Value *value = &line->values[place];
    Buffer *buffer = &self->record;
    if (!reserve(buffer, NUMBER_BYTES)) {
        return false;
    }
    if (!(line->seen >> place & 1) || value->is_null) {
        put(buffer, 0); /* the null of a union, and the end of an array without rows */
        return true;
    }
    if (value->rows) {
        put_long(buffer, (int64_t)value->rows);
    }
    if (!put_bytes(buffer, self->values.data + value->start, value->end - value->start)) {
        return false;
    }
    if (value->rows) {
        if (!reserve(buffer, 1)) {
            return false;
        }
        put(buffer, 0);
    }
    return true;
}

static bool put_slot(LineEncoder *self, const Call *call, const Queued *queued, unsigned topic, const Slot *slot) {
    const Line *line = &self->line;
    Buffer *buffer = &self->record;
    switch (slot->type) {
    case SYMBOL_SLOT:
        return put_object(buffer, queued->stream, attr_symbol_bytes);
    case INGEST_TIME:
        return put_bytes(buffer, call->ingest_time.data, call->ingest_time.used);
    case SESSION:
        return put_object(buffer, queued->stream, attr_session_bytes);
    case FIELD:
        return put_field(self, slot->field);
    case CLEARED:
        return put_cleared(self, topic);
    case FEED_TIME:
        if (line->feed_time_end) {
            return put_bytes(buffer, self->values.data + line->feed_time_start,
                             line->feed_time_end - line->feed_time_start);
        }
        break;
    case LITERAL:
        return put_bytes(buffer, slot->literal.text.at, slot->literal.text.size);
    default:
        break;
    }
    if (!reserve(buffer, NUMBER_BYTES)) {
        return false;
    }
    if (slot->type == SEQ) {
        put_long(buffer, queued->seq);
    } else {
        put(buffer, slot->type == AFTER_GAP && queued->after_gap);
    }
    return true;
}

/* Return an attribute as a number, -1 with an exception if it is none. */
static int64_t number_of(PyObject *owner, PyObject *name) {
    PyObject *number = PyObject_GetAttr(owner, name);
    int64_t value = number == NULL ? -1 : PyLong_AsLongLong(number);
    Py_XDECREF(number);
    return value;
}

static int truth_of(PyObject *owner, PyObject *name) {
    PyObject *flag = PyObject_GetAttr(owner, name);
    int truth = flag == NULL ? -1 : PyObject_IsTrue(flag);
    Py_XDECREF(flag);
    return truth;
}

static bool add_to(PyObject *owner, PyObject *name, int64_t more) {
    int64_t value = number_of(owner, name);
    if (value == -1 && PyErr_Occurred()) {
        return false;
    }
    PyObject *sum = PyLong_FromLongLong(value + more);
    bool done = sum != NULL && PyObject_SetAttr(owner, name, sum) == 0;
    Py_XDECREF(sum);
    return done;
}

/* Return whether records of a queue are only appended: it has room by its own state, and nothing is merged. */
static Outcome is_open(PyObject *queue, const Record *record) {
    int truth = truth_of(queue, attr_is_stalled);
    if (truth == 0 && record->conflates) {
        truth = truth_of(queue, attr_is_overloaded);
        if (truth == 0) {
            truth = truth_of(queue, attr_has_conflated);
        }
    }
    return truth < 0 ? FAILED : truth ? UNUSUAL : PLAIN;
}

/* Make the record of a stream, which is put into ``queued``; what that has is released by the caller. */
static Outcome make_record(LineEncoder *self, const Call *call, PyObject *stream, Queued *queued) {
    Layout *layout = self->line.layout;
    PyObject *topic = PyObject_GetAttr(stream, attr_topic);
    unsigned place = 0;
    while (place < layout->record_count && layout->records[place].topic != topic) {
        place++;
    }
    Py_XDECREF(topic);
    if (topic == NULL) {
        return FAILED;
    }
    if (place == layout->record_count || layout->records[place].left_to_python) {
        return UNUSUAL;
    }
    Record *record = queued->record = &layout->records[place];
    int required = record->required;
    if (required >= 0 && (!(self->line.seen >> required & 1) || self->line.values[required].is_null)) {
        return UNUSUAL;
    }
    queued->stream = Py_NewRef(stream);
    queued->queue = PyObject_GetAttr(stream, attr_queue);
    if (queued->queue == NULL) {
        return FAILED;
    }
    Outcome outcome = is_open(queued->queue, record);
    if (outcome != PLAIN) {
        return outcome;
    }
    int after_gap = truth_of(stream, attr_after_gap);
    queued->seq = number_of(stream, attr_seq);
    if (after_gap < 0 || (queued->seq == -1 && PyErr_Occurred())) {
        return FAILED;
    }
    queued->after_gap = after_gap;
    Buffer *buffer = &self->record;
    buffer->used = 0;
    if (!put_bytes(buffer, record->prefix.text.at, record->prefix.text.size)) {
        return FAILED;
    }
    for (unsigned slot = 0; slot < record->slot_count; slot++) {
        if (!put_slot(self, call, queued, place, &record->slots[slot])) {
            return FAILED;
        }
    }
    if (buffer->used > (size_t)self->max_record_bytes) {
        return UNUSUAL;
    }
    PyObject *value = PyBytes_FromStringAndSize((const char *)buffer->data, (Py_ssize_t)buffer->used);
    PyObject *key = PyObject_GetAttr(stream, attr_key);
    if (value != NULL && key != NULL) {
        queued->item = PyTuple_Pack(4, call->ingest_us, key, value, Py_None);
    }
    Py_XDECREF(value);
    Py_XDECREF(key);
    queued->cost_bytes = (Py_ssize_t)buffer->used + self->record_overhead_bytes;
    return queued->item == NULL ? FAILED : PLAIN;
}

/* Write what was counted to the accounts and the budget. */
static bool settle(LineEncoder *self, Call *call) {
    bool done = true;
    if (call->lines) {
        done = add_to(self->accounts, attr_lines_received, call->lines) && done;
    }
    if (call->records) {
        done = add_to(self->accounts, attr_pending, call->records) && done;
        done = add_to(self->buffer, attr_bytes, call->bytes) && done;
    }
    if (call->split) {
        done = add_to(self->accounts, attr_split, call->split) && done;
    }
    call->lines = call->records = call->bytes = call->split = 0;
    return done;
}

/* Append a record to its queue, as RecordBuffer.offer does where there is room. */
static bool queue_record(LineEncoder *self, Call *call, const Queued *queued) {
    PyObject *queue = queued->queue, *waiting = PyObject_GetAttr(queue, attr_waiting);
    PyObject *none = waiting == NULL ? NULL : PyObject_CallMethodObjArgs(waiting, attr_append, queued->item, NULL);
    Py_XDECREF(waiting);
    if (none == NULL) {
        return false;
    }
    Py_DECREF(none);
    call->records++;
    call->bytes += queued->cost_bytes;
    call->bytes_left -= queued->cost_bytes;
    queued->record->seen = true;
    PyObject *seq = PyLong_FromLongLong(queued->seq + 1);
    bool done = seq != NULL && PyObject_SetAttr(queued->stream, attr_seq, seq) == 0;
    Py_XDECREF(seq);
    if (!done || (queued->after_gap && PyObject_SetAttr(queued->stream, attr_after_gap, Py_False) != 0) ||
        !add_to(queue, attr_bytes, queued->cost_bytes)) {
        return false;
    }
    int is_ready = truth_of(queue, attr_is_ready);
    if (is_ready == 0) {
        is_ready = truth_of(queue, attr_in_flight);
    }
    if (is_ready != 0) {
        return is_ready > 0;
    }
    if (!settle(self, call)) {
        return false;
    }
    none = PyObject_CallMethodObjArgs(self->buffer, attr_make_ready, queue, NULL);
    Py_XDECREF(none);
    return none != NULL;
}

/* Return the streams of the line's symbol, NULL without an exception if Python has not routed such a line before. */
static PyObject *route(LineEncoder *self) {
    Line *line = &self->line;
    PyObject *routes = PyDict_GetItemWithError(self->routes, line->layout->topics[line->topics]);
    if (routes == NULL) {
        return NULL;
    }
    PyObject *symbol = PyUnicode_FromStringAndSize(line->symbol.at, (Py_ssize_t)line->symbol.size);
    PyObject *streams = symbol == NULL ? NULL : PyDict_GetItemWithError(routes, symbol);
    Py_XDECREF(symbol);
    return Py_XNewRef(streams);
}

/* Queue the records of the present line: all of them, or none. */
static Outcome queue_line(LineEncoder *self, Call *call) {
    Queued queued[MAX_TOPICS];
    PyObject *streams = route(self);
    if (streams == NULL) {
        return PyErr_Occurred() ? FAILED : UNUSUAL;
    }
    Py_ssize_t count = PyTuple_Size(streams), made = 0, cost_bytes = 0;
    Outcome outcome = count < 0 ? FAILED : count == 0 || count > MAX_TOPICS ? UNUSUAL : PLAIN;
    while (outcome == PLAIN && made < count) {
        queued[made] = (Queued){.record = NULL};
        outcome = make_record(self, call, PyTuple_GetItem(streams, made), &queued[made]);
        cost_bytes += queued[made].cost_bytes;
        made++;
    }
    if (outcome == PLAIN && cost_bytes > call->bytes_left) {
        outcome = UNUSUAL;
    }
    if (outcome == PLAIN) {
        call->lines++;
        call->split += count - 1;
        for (Py_ssize_t place = 0; outcome == PLAIN && place < count; place++) {
            outcome = queue_record(self, call, &queued[place]) ? PLAIN : FAILED;
        }
    }
    while (made-- > 0) {
        Py_XDECREF(queued[made].stream);
        Py_XDECREF(queued[made].queue);
        Py_XDECREF(queued[made].item);
    }
    Py_DECREF(streams);
    return outcome;
}

/* -- taking the lines of frames ----------------------------------------------------------------------------------- */

/* Take lines of a frame from an offset on, which is moved behind the last one taken. */
static Outcome take_frame(LineEncoder *self, Call *call, PyObject *frame, Py_ssize_t *offset, Py_ssize_t *lines_left,
                          Py_ssize_t *data_lines) {
    char *data;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(frame, &data, &size) < 0) {
        return FAILED;
    }
    while (*offset < size && *lines_left > 0) {
        Cursor cursor = {data + *offset, data + size};
        char first = next_byte(&cursor);
        if (first != '\n' && cursor.at != cursor.end) { /* a blank line is none */
            Outcome outcome = take_line(self, &cursor);
            if (outcome == PLAIN) {
                outcome = queue_line(self, call);
            }
            if (outcome != PLAIN) {
                return outcome;
            }
            ++*data_lines;
        }
        --*lines_left;
        *offset = cursor.at - data + (cursor.at != cursor.end);
    }
    return PLAIN;
}

/* Prepare a call; UNUSUAL: a change of overload is to be announced first, which Python does. */
static Outcome start_call(LineEncoder *self, Call *call, PyObject *ingest_us) {
    int64_t number = PyLong_AsLongLong(ingest_us);
    if (number == -1 && PyErr_Occurred()) {
        return FAILED;
    }
    int active = truth_of(self->overload, attr_active);
    int announced = active < 0 ? -1 : truth_of(self->overload, attr_announced);
    if (announced < 0 || active != announced) {
        return announced < 0 ? FAILED : UNUSUAL;
    }
    int64_t budget_bytes = number_of(self->buffer, attr_budget_bytes);
    int64_t bytes = PyErr_Occurred() ? -1 : number_of(self->buffer, attr_bytes);
    if (PyErr_Occurred() || !reserve(&call->ingest_time, NUMBER_BYTES)) {
        return FAILED;
    }
    put_long(&call->ingest_time, number);
    call->ingest_us = ingest_us;
    call->bytes_left = budget_bytes - bytes;
    return PLAIN;
}

/* Note when each topic had its last data. */
static bool note_topics(LineEncoder *self, const Call *call) {
    for (unsigned place = 0; place < self->layout_count; place++) {
        Layout *layout = &self->layouts[place];
        for (unsigned topic = 0; topic < layout->record_count; topic++) {
            Record *record = &layout->records[topic];
            if (record->seen && PyDict_SetItem(self->last_data, record->topic, call->ingest_us) < 0) {
                return false;
            }
            record->seen = false;
        }
    }
    return true;
}

PyDoc_STRVAR(take_doc,
             "take(ingest_us, frames, offset, max_lines, max_bytes, /)\n--\n\n"
             "Queue the records of plain lines from the left of a deque of frames, from an offset of the first one on.\n\n"
             "Frames are removed once all their lines were taken. Stop at the first line that is left to Python, or at a\n"
             "limit. Return how many lines were taken, blank ones included, how many of them had data, and the offset in\n"
             "the frame that is the first now.");

static PyObject *encoder_take(LineEncoder *self, PyObject *arguments) {
    PyObject *frames, *ingest_us;
    Py_ssize_t offset, max_lines, max_bytes, data_lines = 0;
    if (!PyArg_ParseTuple(arguments, "OOnnn:take", &ingest_us, &frames, &offset, &max_lines, &max_bytes)) {
        return NULL;
    }
    if (offset < 0 || self->busy) {
        PyErr_SetString(PyExc_ValueError, self->busy ? "lines are being taken already" : "a negative offset");
        return NULL;
    }
    Call call = {.ingest_us = NULL};
    Outcome outcome = start_call(self, &call, ingest_us);
    Py_ssize_t lines_left = max_lines;
    self->busy = true;
    while (outcome == PLAIN && lines_left > 0 && max_bytes > 0) {
        Py_ssize_t count = PyObject_Size(frames);
        if (count <= 0) {
            outcome = count < 0 ? FAILED : PLAIN;
            break;
        }
        PyObject *frame = PySequence_GetItem(frames, 0);
        if (frame == NULL) {
            outcome = FAILED;
            break;
        }
        Py_ssize_t start = offset, size = PyObject_Size(frame);
        if (start == size) {
            lines_left--; /* an empty frame */
        }
        outcome = take_frame(self, &call, frame, &offset, &lines_left, &data_lines);
        max_bytes -= offset - start;
        Py_DECREF(frame);
        if (outcome == PLAIN && offset >= size) {
            PyObject *removed = PyObject_CallMethodObjArgs(frames, attr_popleft, NULL);
            Py_XDECREF(removed);
            outcome = removed == NULL ? FAILED : PLAIN;
            offset = 0;
        }
    }
    self->busy = false;
    PyMem_Free(call.ingest_time.data);
    if (outcome == FAILED) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        settle(self, &call);
        note_topics(self, &call);
        PyErr_Restore(type, value, traceback);
        return NULL;
    }
    if (!settle(self, &call) || !note_topics(self, &call)) {
        return NULL;
    }
    return Py_BuildValue("nnn", max_lines - lines_left, data_lines, offset);
}

/* -- the plan, as Python hands it over ---------------------------------------------------------------------------- */

static bool refuse(const char *what) {
    if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError, "the plan has %s", what);
    }
    return false;
}

static bool keep_name(PyObject *owner, Name *name) {
    char *at;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(owner, &at, &size) < 0) {
        return false;
    }
    *name = (Name){Py_NewRef(owner), {at, (size_t)size}};
    return true;
}

static bool keep_optional_name(PyObject *owner, Name *name) { return Py_IsNone(owner) || keep_name(owner, name); }

/* Return the size of a tuple of at most so many; -1 with an exception otherwise. */
static Py_ssize_t size_up_to(PyObject *tuple, Py_ssize_t most, const char *what) {
    Py_ssize_t size = PyTuple_Size(tuple);
    if (size > most) {
        refuse(what);
        return -1;
    }
    return size;
}

static bool keep_names(PyObject *tuple, Name *names, unsigned most, unsigned *count) {
    Py_ssize_t size = size_up_to(tuple, most, "too many words");
    for (Py_ssize_t place = 0; place < size; place++) {
        if (!keep_optional_name(PyTuple_GetItem(tuple, place), &names[place])) {
            return false;
        }
    }
    *count = size < 0 ? 0 : (unsigned)size;
    return size >= 0;
}

static bool keep_shape(Shape *shape, PyObject *given) {
    PyObject *holder, *type, *data, *feed_time, *fixed;
    if (!PyArg_ParseTuple(given, "OSSSO!", &holder, &type, &data, &feed_time, &PyTuple_Type, &fixed) ||
        !keep_optional_name(holder, &shape->holder) || !keep_name(type, &shape->type) ||
        !keep_name(data, &shape->data) || !keep_name(feed_time, &shape->feed_time)) {
        return false;
    }
    Py_ssize_t count = size_up_to(fixed, MAX_KEYS, "too many fixed keys");
    for (Py_ssize_t place = 0; place < count; place++) {
        FixedKey *one = &shape->fixed[place];
        PyObject *key, *words;
        int in_holder, may_be_null;
        if (!PyArg_ParseTuple(PyTuple_GetItem(fixed, place), "SppO!", &key, &in_holder, &may_be_null, &PyTuple_Type,
                              &words) ||
            !keep_name(key, &one->key) || !keep_names(words, one->words, MAX_KEYS, &one->word_count)) {
            return false;
        }
        for (unsigned word = 0; word < one->word_count; word++) {
            if (one->words[word].owner == NULL) {
                return refuse("null as a word");
            }
        }
        one->in_holder = in_holder;
        one->may_be_null = may_be_null;
        shape->fixed_count++;
    }
    return count >= 0;
}

static bool keep_columns(Field *field, PyObject *columns) {
    Py_ssize_t count = size_up_to(columns, MAX_COLUMNS, "too many columns");
    unsigned positions = 0;
    if (count < 0 || (count > 0) != (field->type == ROWS)) {
        return refuse("columns without rows, or rows without columns");
    }
    for (Py_ssize_t place = 0; place < count; place++) {
        Column *column = &field->columns[place];
        unsigned type, scale, position;
        int required;
        if (!PyArg_ParseTuple(PyTuple_GetItem(columns, place), "IIpI", &type, &scale, &required, &position)) {
            return false;
        }
        if (type >= ROWS || type == SYMBOL || scale > MAX_DIGITS || position >= (unsigned)count ||
            positions >> position & 1) {
            return refuse("an invalid column");
        }
        positions |= 1U << position;
        *column = (Column){(ValueType)type, scale, required, position};
        field->column_count++;
    }
    return true;
}

static bool keep_field(Field *field, PyObject *given) {
    PyObject *name, *cleared, *columns;
    unsigned type, count;
    if (!PyArg_ParseTuple(given, "SIIIO!O!", &name, &type, &field->scale, &field->own_topics, &PyTuple_Type, &cleared,
                          &PyTuple_Type, &columns)) {
        return false;
    }
    if (type >= VALUE_TYPES || field->scale > MAX_DIGITS || field->own_topics >= 1U << MAX_TOPICS) {
        return refuse("an invalid field");
    }
    field->type = (ValueType)type;
    return keep_name(name, &field->name) && keep_names(cleared, field->cleared, MAX_TOPICS, &count) &&
           keep_columns(field, columns);
}

static bool keep_slots(Record *record, PyObject *slots, unsigned field_count) {
    Py_ssize_t count = PyTuple_Size(slots);
    record->slots = count < 0 ? NULL : PyMem_Calloc((size_t)count + 1, sizeof(Slot));
    if (record->slots == NULL) {
        return count < 0 ? false : PyErr_NoMemory() != NULL;
    }
    for (Py_ssize_t place = 0; place < count; place++) {
        Slot *slot = &record->slots[place];
        PyObject *literal;
        unsigned type;
        if (!PyArg_ParseTuple(PyTuple_GetItem(slots, place), "IIS", &type, &slot->field, &literal)) {
            return false;
        }
        if (type >= SLOT_TYPES || slot->field >= field_count) {
            return refuse("an invalid slot");
        }
        slot->type = (SlotType)type;
        record->slot_count++;
        if (!keep_name(literal, &slot->literal)) {
            return false;
        }
    }
    return true;
}

static bool keep_record(Record *record, PyObject *given, unsigned field_count) {
    PyObject *topic, *prefix, *slots;
    int conflates, left_to_python;
    if (!PyArg_ParseTuple(given, "OSippO!", &topic, &prefix, &record->required, &conflates, &left_to_python,
                          &PyTuple_Type, &slots)) {
        return false;
    }
    if (record->required < -1 || record->required >= (int)field_count) {
        return refuse("an invalid required field");
    }
    record->topic = Py_NewRef(topic);
    record->conflates = conflates;
    record->left_to_python = left_to_python;
    return keep_name(prefix, &record->prefix) && keep_slots(record, slots, field_count);
}

static bool keep_layout(Layout *layout, PyObject *given) {
    PyObject *fields, *records, *topics;
    if (!PyArg_ParseTuple(given, "O!O!O!", &PyTuple_Type, &fields, &PyTuple_Type, &records, &PyTuple_Type, &topics)) {
        return false;
    }
    Py_ssize_t field_count = size_up_to(fields, MAX_FIELDS, "too many fields");
    Py_ssize_t record_count = size_up_to(records, MAX_TOPICS, "too many topics");
    if (field_count <= 0 || record_count <= 0 || PyTuple_Size(topics) != (Py_ssize_t)1 << record_count) {
        return refuse("a layout without fields or topics");
    }
    unsigned all_topics = (1U << record_count) - 1;
    for (Py_ssize_t place = 0; place < field_count; place++) {
        Field *field = &layout->fields[place];
        layout->field_count++;
        if (!keep_field(field, PyTuple_GetItem(fields, place))) {
            return false;
        }
        if (field->own_topics & ~all_topics) {
            return refuse("a field of an unknown topic");
        }
    }
    for (Py_ssize_t place = 0; place < record_count; place++) {
        layout->record_count++;
        if (!keep_record(&layout->records[place], PyTuple_GetItem(records, place), (unsigned)field_count)) {
            return false;
        }
    }
    for (unsigned place = 0; place <= all_topics; place++) {
        layout->topics[place] = Py_NewRef(PyTuple_GetItem(topics, place));
    }
    return true;
}

static bool keep_layouts(LineEncoder *self, PyObject *layouts, PyObject *kinds) {
    Py_ssize_t layout_count = PyTuple_Size(layouts), kind_count = PyTuple_Size(kinds);
    self->layouts = PyMem_Calloc((size_t)layout_count + 1, sizeof(Layout));
    self->kinds = PyMem_Calloc((size_t)kind_count + 1, sizeof(Kind));
    if (self->layouts == NULL || self->kinds == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t place = 0; place < layout_count; place++) {
        self->layout_count++;
        if (!keep_layout(&self->layouts[place], PyTuple_GetItem(layouts, place))) {
            return false;
        }
    }
    for (Py_ssize_t place = 0; place < kind_count; place++) {
        Kind *kind = &self->kinds[place];
        PyObject *word;
        if (!PyArg_ParseTuple(PyTuple_GetItem(kinds, place), "SI", &word, &kind->layout)) {
            return false;
        }
        if (kind->layout >= self->layout_count) {
            return refuse("a kind without a layout");
        }
        self->kind_count++;
        if (!keep_name(word, &kind->word)) {
            return false;
        }
    }
    return true;
}

static PyObject *encoder_new(PyTypeObject *type, PyObject *arguments, PyObject *named) {
    PyObject *shape, *kinds, *layouts, *no_texts, *routes, *buffer, *accounts, *overload, *last_data;
    Py_ssize_t max_rows, max_record_bytes, record_overhead_bytes;
    static char *names[] = {"shape",  "kinds",    "layouts",  "no_texts",  "max_rows", "max_record_bytes", "record_overhead_bytes",
                            "routes", "buffer",   "accounts", "overload",  "last_data", NULL};
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O!O!O!O!nnnO!OOOO!:LineEncoder", names, &PyTuple_Type, &shape,
                                     &PyTuple_Type, &kinds, &PyTuple_Type, &layouts, &PyTuple_Type, &no_texts,
                                     &max_rows, &max_record_bytes, &record_overhead_bytes, &PyDict_Type, &routes,
                                     &buffer, &accounts, &overload, &PyDict_Type, &last_data)) {
        return NULL;
    }
    LineEncoder *self = (LineEncoder *)PyType_GenericAlloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->max_rows = max_rows;
    self->max_record_bytes = max_record_bytes;
    self->record_overhead_bytes = record_overhead_bytes;
    self->routes = Py_NewRef(routes);
    self->buffer = Py_NewRef(buffer);
    self->accounts = Py_NewRef(accounts);
    self->overload = Py_NewRef(overload);
    self->last_data = Py_NewRef(last_data);
    bool kept = keep_shape(&self->shape, shape) && keep_layouts(self, layouts, kinds) &&
                keep_names(no_texts, self->no_texts, MAX_COLUMNS, &self->no_text_count);
    for (unsigned place = 0; kept && place < self->no_text_count; place++) {
        kept = self->no_texts[place].owner != NULL || refuse("null as a text");
        if (self->no_texts[place].text.size > self->max_no_text_bytes) {
            self->max_no_text_bytes = self->no_texts[place].text.size;
        }
    }
    if (!kept) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

PyDoc_STRVAR(set_prefix_doc, "set_prefix(topic, prefix, /)\n--\n\nStart the records of a topic with another prefix from now on.");

static PyObject *encoder_set_prefix(LineEncoder *self, PyObject *arguments) {
    PyObject *topic, *prefix;
    if (!PyArg_ParseTuple(arguments, "OS:set_prefix", &topic, &prefix)) {
        return NULL;
    }
    for (unsigned place = 0; place < self->layout_count; place++) {
        Layout *layout = &self->layouts[place];
        for (unsigned number = 0; number < layout->record_count; number++) {
            Name *name = &layout->records[number].prefix;
            PyObject *before = name->owner;
            if (layout->records[number].topic == topic) {
                if (!keep_name(prefix, name)) {
                    return NULL;
                }
                Py_DECREF(before);
            }
        }
    }
    Py_RETURN_NONE;
}

static int encoder_traverse(LineEncoder *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->routes);
    Py_VISIT(self->buffer);
    Py_VISIT(self->accounts);
    Py_VISIT(self->overload);
    Py_VISIT(self->last_data);
    return 0;
}

static int encoder_clear(LineEncoder *self) {
    Py_CLEAR(self->routes);
    Py_CLEAR(self->buffer);
    Py_CLEAR(self->accounts);
    Py_CLEAR(self->overload);
    Py_CLEAR(self->last_data);
    return 0;
}

static void drop_names(Name *names, unsigned count) {
    for (unsigned place = 0; place < count; place++) {
        Py_XDECREF(names[place].owner);
    }
}

static void drop_layout(Layout *layout) {
    for (unsigned place = 0; place < layout->field_count; place++) {
        drop_names(&layout->fields[place].name, 1);
        drop_names(layout->fields[place].cleared, MAX_TOPICS);
    }
    for (unsigned place = 0; place < layout->record_count; place++) {
        Record *record = &layout->records[place];
        Py_XDECREF(record->topic);
        drop_names(&record->prefix, 1);
        for (unsigned slot = 0; slot < record->slot_count; slot++) {
            drop_names(&record->slots[slot].literal, 1);
        }
        PyMem_Free(record->slots);
    }
    for (unsigned place = 0; place < 1U << MAX_TOPICS; place++) {
        Py_XDECREF(layout->topics[place]);
    }
}

static void encoder_dealloc(LineEncoder *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    encoder_clear(self);
    Name *shape[] = {&self->shape.holder, &self->shape.type, &self->shape.data, &self->shape.feed_time};
    for (unsigned place = 0; place < sizeof shape / sizeof *shape; place++) {
        drop_names(shape[place], 1);
    }
    for (unsigned place = 0; place < MAX_KEYS; place++) {
        drop_names(&self->shape.fixed[place].key, 1);
        drop_names(self->shape.fixed[place].words, MAX_KEYS);
    }
    for (unsigned place = 0; place < self->kind_count; place++) {
        drop_names(&self->kinds[place].word, 1);
    }
    for (unsigned place = 0; place < self->layout_count; place++) {
        drop_layout(&self->layouts[place]);
    }
    drop_names(self->no_texts, MAX_COLUMNS);
    PyMem_Free(self->kinds);
    PyMem_Free(self->layouts);
    PyMem_Free(self->values.data);
    PyMem_Free(self->record.data);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef encoder_methods[] = {{"take", (PyCFunction)encoder_take, METH_VARARGS, take_doc},
                                        {"set_prefix", (PyCFunction)encoder_set_prefix, METH_VARARGS, set_prefix_doc},
                                        {NULL, NULL, 0, NULL}};

static PyType_Slot encoder_slots[] = {{Py_tp_doc, "The step from plain lines to queued records, by a plan."},
                                      {Py_tp_new, encoder_new},
                                      {Py_tp_dealloc, encoder_dealloc},
                                      {Py_tp_traverse, encoder_traverse},
                                      {Py_tp_clear, encoder_clear},
                                      {Py_tp_methods, encoder_methods},
                                      {0, NULL}};

static PyType_Spec encoder_spec = {"bridge.pipeline.compiled._lines.LineEncoder", sizeof(LineEncoder), 0,
                                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, encoder_slots};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_lines", "Plain lines to queued records.", -1, NULL,
                                    NULL,                  NULL,     NULL,                             NULL};

/* The constants of plans, by the names that plan.py uses. */
static const struct {
    const char *name;
    long value;
} CONSTANTS[] = {{"SYMBOL", SYMBOL},
                 {"PRICE", PRICE},
                 {"CHANGE", CHANGE},
                 {"SIZE", SIZE},
                 {"SIZE_CHANGE", SIZE_CHANGE},
                 {"DOUBLE", DOUBLE},
                 {"STRING", STRING},
                 {"TIME", TIME},
                 {"ROWS", ROWS},
                 {"LITERAL", LITERAL},
                 {"SYMBOL_SLOT", SYMBOL_SLOT},
                 {"INGEST_TIME", INGEST_TIME},
                 {"SESSION", SESSION},
                 {"SEQ", SEQ},
                 {"AFTER_GAP", AFTER_GAP},
                 {"FEED_TIME", FEED_TIME},
                 {"FIELD", FIELD},
                 {"CLEARED", CLEARED}};

PyMODINIT_FUNC PyInit__lines(void) {
#define INTERN(name)                                                                                                   \
    if (attr_##name == NULL && (attr_##name = PyUnicode_InternFromString(#name)) == NULL) {                             \
        return NULL;                                                                                                   \
    }
    ATTRIBUTES(INTERN)
    PyObject *created = PyModule_Create(&module);
    PyObject *type = created == NULL ? NULL : PyType_FromSpec(&encoder_spec);
    bool done = type != NULL && PyModule_AddObjectRef(created, "LineEncoder", type) == 0;
    Py_XDECREF(type);
    for (size_t place = 0; done && place < sizeof CONSTANTS / sizeof *CONSTANTS; place++) {
        done = PyModule_AddIntConstant(created, CONSTANTS[place].name, CONSTANTS[place].value) == 0;
    }
    if (!done || PyModule_AddStringConstant(created, "SOURCES", SOURCES) < 0) {
        Py_XDECREF(created);
        return NULL;
    }
    return created;
}
