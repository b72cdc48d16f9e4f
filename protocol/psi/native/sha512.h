/* SHA-512 (FIPS 180-4) of many short strings with one common prefix: the first step of hashing
 * identifiers to the group.  Portable C; a call per batch instead of a Python call per person. */
#ifndef ASSENT_SHA512_H
#define ASSENT_SHA512_H

#include <stddef.h>
#include <stdint.h>

/* out[i] = SHA-512(prefix | 8-byte big-endian length of string i | string i), 64 bytes each.
 * String i is data[offsets[i]…offsets[i+1]): the layout of an Arrow string column.
 * Returns 0, or -1 when the offsets decrease or leave data. */
int sha512_strings(const uint8_t *prefix, size_t prefix_size, const int32_t *offsets,
                   const uint8_t *data, size_t data_size, uint8_t *out, size_t n);

#endif
