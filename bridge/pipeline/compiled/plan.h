/* The plan: what plan.py says of lines, fields and records. */
#ifndef PLAN_H
#define PLAN_H

#include "values.h"

#define MAX_FIELDS 64 /* bits of the set of fields that a line had */
#define MAX_TOPICS 4  /* records that a line may become */
#define MAX_COLUMNS 8
#define MAX_KEYS 4 /* keys with fixed words beside the data of an update, and words of each */
#define MAX_NO_TEXTS 8

/* How a value is read and encoded: the converter of the field, and its Avro type. */
typedef enum { SYMBOL, PRICE, CHANGE, SIZE, SIZE_CHANGE, DOUBLE, STRING, TIME, ROWS, VALUE_TYPES } ValueType;
/* What a slot of a record is filled with. */
typedef enum { LITERAL, SYMBOL_SLOT, INGEST_TIME, SESSION, SEQ, AFTER_GAP, FEED_TIME, FIELD, CLEARED, SLOT_TYPES } SlotType;

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

/* All that Python has handed over. */
typedef struct {
    Shape shape;
    Kind *kinds;
    unsigned kind_count;
    Layout *layouts;
    unsigned layout_count;
    Name no_texts[MAX_NO_TEXTS];
    unsigned no_text_count;
    size_t max_no_text_bytes;
    Py_ssize_t max_rows, max_record_bytes, record_overhead_bytes;
} Plan;

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

static bool keep_layouts(Plan *plan, PyObject *layouts, PyObject *kinds) {
    Py_ssize_t layout_count = PyTuple_Size(layouts), kind_count = PyTuple_Size(kinds);
    plan->layouts = PyMem_Calloc((size_t)layout_count + 1, sizeof(Layout));
    plan->kinds = PyMem_Calloc((size_t)kind_count + 1, sizeof(Kind));
    if (plan->layouts == NULL || plan->kinds == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t place = 0; place < layout_count; place++) {
        plan->layout_count++;
        if (!keep_layout(&plan->layouts[place], PyTuple_GetItem(layouts, place))) {
            return false;
        }
    }
    for (Py_ssize_t place = 0; place < kind_count; place++) {
        Kind *kind = &plan->kinds[place];
        PyObject *word;
        if (!PyArg_ParseTuple(PyTuple_GetItem(kinds, place), "SI", &word, &kind->layout)) {
            return false;
        }
        if (kind->layout >= plan->layout_count) {
            return refuse("a kind without a layout");
        }
        plan->kind_count++;
        if (!keep_name(word, &kind->word)) {
            return false;
        }
    }
    return true;
}

/* Take the plan over; false: an exception says what is wrong with it. */
static bool keep_plan(Plan *plan, PyObject *shape, PyObject *kinds, PyObject *layouts, PyObject *no_texts) {
    if (!keep_shape(&plan->shape, shape) || !keep_layouts(plan, layouts, kinds) ||
        !keep_names(no_texts, plan->no_texts, MAX_NO_TEXTS, &plan->no_text_count)) {
        return false;
    }
    for (unsigned place = 0; place < plan->no_text_count; place++) {
        if (plan->no_texts[place].owner == NULL) {
            return refuse("null as a text");
        }
        if (plan->no_texts[place].text.size > plan->max_no_text_bytes) {
            plan->max_no_text_bytes = plan->no_texts[place].text.size;
        }
    }
    return true;
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

static void drop_plan(Plan *plan) {
    Name *shape[] = {&plan->shape.holder, &plan->shape.type, &plan->shape.data, &plan->shape.feed_time};
    for (unsigned place = 0; place < sizeof shape / sizeof *shape; place++) {
        drop_names(shape[place], 1);
    }
    for (unsigned place = 0; place < MAX_KEYS; place++) {
        drop_names(&plan->shape.fixed[place].key, 1);
        drop_names(plan->shape.fixed[place].words, MAX_KEYS);
    }
    for (unsigned place = 0; place < plan->kind_count; place++) {
        drop_names(&plan->kinds[place].word, 1);
    }
    for (unsigned place = 0; place < plan->layout_count; place++) {
        drop_layout(&plan->layouts[place]);
    }
    drop_names(plan->no_texts, MAX_NO_TEXTS);
    PyMem_Free(plan->kinds);
    PyMem_Free(plan->layouts);
}

#endif
