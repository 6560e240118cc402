/* From a line to the encoded values of its fields. */
#ifndef FIELDS_H
#define FIELDS_H

#include "plan.h"

#define MAX_SYMBOL_BYTES 64

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

/* The step with its plan, the objects of the pipeline, and what it needs for the present line. */
typedef struct {
    PyObject_HEAD
    Plan plan;
    PyObject *routes, *buffer, *accounts, *overload, *last_data;
    bool busy;
    Line line;
    Buffer values, record;
} LineEncoder;

static bool says_no_text(const LineEncoder *self, Text text) {
    if (text.size > self->plan.max_no_text_bytes) {
        return false;
    }
    for (unsigned place = 0; place < self->plan.no_text_count; place++) {
        Text other = self->plan.no_texts[place].text;
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
        if (++value->rows > (size_t)self->plan.max_rows) {
            return UNUSUAL;
        }
    } while (take(cursor, ','));
    return take(cursor, ']') ? PLAIN : UNUSUAL;
}

/* Take the name of a field; return which it is, or -1. It is probably the one that it was in the last line. */
static inline int take_field_name(Layout *layout, Cursor *cursor, int before) {
    unsigned *guess = before < 0 ? &layout->first : &layout->fields[before].next;
    Text name;
    if (take_this(cursor, layout->fields[*guess].name.text)) {
        return (int)*guess;
    }
    if (!take_text(cursor, &name)) {
        return -1;
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
        place = take_field_name(layout, cursor, place);
        if (place < 0 || line->seen >> place & 1 || !take(cursor, ':')) {
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
    for (unsigned place = 0; place < self->plan.kind_count; place++) {
        if (equals(self->plan.kinds[place].word.text, word)) {
            self->line.layout = &self->plan.layouts[self->plan.kinds[place].layout];
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
    const Shape *shape = &self->plan.shape;
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
    const Shape *shape = &self->plan.shape;
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

#endif
