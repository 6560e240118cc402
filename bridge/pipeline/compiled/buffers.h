/* Bytes that grow, and numbers in Avro's binary encoding. */
#ifndef BUFFERS_H
#define BUFFERS_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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

#endif
