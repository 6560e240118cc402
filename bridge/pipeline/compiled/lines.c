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
#include "records.h"

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
    for (unsigned place = 0; place < self->plan.layout_count; place++) {
        Layout *layout = &self->plan.layouts[place];
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

/* -- the module -------------------------------------------------------------------------------------------------- */

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
    self->plan.max_rows = max_rows;
    self->plan.max_record_bytes = max_record_bytes;
    self->plan.record_overhead_bytes = record_overhead_bytes;
    self->routes = Py_NewRef(routes);
    self->buffer = Py_NewRef(buffer);
    self->accounts = Py_NewRef(accounts);
    self->overload = Py_NewRef(overload);
    self->last_data = Py_NewRef(last_data);
    if (!keep_plan(&self->plan, shape, kinds, layouts, no_texts)) {
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
    for (unsigned place = 0; place < self->plan.layout_count; place++) {
        Layout *layout = &self->plan.layouts[place];
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

static void encoder_dealloc(LineEncoder *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    PyObject_GC_UnTrack(self);
    encoder_clear(self);
    drop_plan(&self->plan);
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
