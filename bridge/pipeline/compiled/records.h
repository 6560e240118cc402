/* From the values of a line to its records, and into their queues. */
#ifndef RECORDS_H
#define RECORDS_H

#include "fields.h"

/* The names of attributes: those of SymbolStream, PartitionQueue, RecordBuffer, Accounts and Overload. */
#define ATTRIBUTES(X)                                                                                                  \
    X(topic) X(queue) X(key) X(symbol_bytes) X(session_bytes) X(seq) X(after_gap)                                       \
    X(is_overloaded) X(has_conflated) X(is_stalled) X(waiting) X(bytes) X(is_ready) X(in_flight)                        \
    X(budget_bytes) X(make_ready) X(lines_received) X(split) X(pending) X(active) X(announced)                          \
    X(append) X(popleft)
#define DECLARE(name) static PyObject *attr_##name;
ATTRIBUTES(DECLARE)

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
    if (buffer->used > (size_t)self->plan.max_record_bytes) {
        return UNUSUAL;
    }
    PyObject *value = PyBytes_FromStringAndSize((const char *)buffer->data, (Py_ssize_t)buffer->used);
    PyObject *key = PyObject_GetAttr(stream, attr_key);
    if (value != NULL && key != NULL) {
        queued->item = PyTuple_Pack(4, call->ingest_us, key, value, Py_None);
    }
    Py_XDECREF(value);
    Py_XDECREF(key);
    queued->cost_bytes = (Py_ssize_t)buffer->used + self->plan.record_overhead_bytes;
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

#endif
