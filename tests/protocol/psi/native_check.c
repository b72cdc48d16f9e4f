/* The native curve's own test: run under sanitizers by test_native_curve.py.
 *
 * Every buffer is an allocation of exactly its size, so that a byte too far is seen.
 */
#include "ristretto_ifma.h"
#include "sha512.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *filled(size_t size, unsigned seed) {
    uint8_t *p = malloc(size ? size : 1);
    for (size_t i = 0; i < size; i++) p[i] = (uint8_t)((seed = seed * 1103515245u + 12345u) >> 16);
    return p;
}

static void require(int holds, const char *what, size_t n) {
    if (holds) return;
    printf("%s, batch of %zu\n", what, n);
    exit(1);
}

/* SHA-512("abc" with its length before it) is compared with hashlib by the Python tests; here
 * all lengths pass the padding's borders. */
static void hash_all_lengths(void) {
    enum { STRINGS = 300 };
    int32_t *offsets = malloc((STRINGS + 1) * sizeof *offsets);
    offsets[0] = 0;
    for (int i = 0; i < STRINGS; i++) offsets[i + 1] = offsets[i] + i;
    const size_t size = (size_t)offsets[STRINGS];
    uint8_t *data = filled(size, 1), *out = malloc(STRINGS * 64), *prefix = filled(40, 2);
    require(!sha512_strings(prefix, 40, offsets, data, size, out, STRINGS), "digests", STRINGS);
    require(sha512_strings(prefix, 40, offsets, data, size - 1, out, STRINGS), "overrun", STRINGS);
    free(offsets), free(data), free(out), free(prefix);
}

static void batch(size_t n) {
    uint8_t *wide = filled(64 * n, (unsigned)n), *points = malloc(32 * n), *one = malloc(32 * n);
    uint8_t *two = malloc(32 * n), *a = filled(32, 3), *b = filled(32, 4);
    a[31] &= 15, b[31] &= 15;
    ristretto_map(wide, points, n);
    require(ristretto_blind(a, points, 0, one, n) == RISTRETTO_GOOD, "first", n);
    require(ristretto_blind(b, one, 0, one, n) == RISTRETTO_GOOD, "second, in place", n);
    require(ristretto_blind(b, wide, 1, two, n) == RISTRETTO_GOOD, "derived", n);
    require(ristretto_blind(a, two, 0, two, n) == RISTRETTO_GOOD, "other order", n);
    require(!memcmp(one, two, 32 * n), "blinding commutes", n);
    memset(points + 32 * (n - 1), 0, 32);
    require(ristretto_blind(a, points, 0, two, n) == (int64_t)n - 1, "the identity", n);
    memset(points, 255, 32 * n);
    require(ristretto_blind(a, points, 0, two, n) == 0, "not canonical", n);
    free(wide), free(points), free(one), free(two), free(a), free(b);
}

int main(void) {
    hash_all_lengths();
    if (!ristretto_available()) {
        puts("no IFMA: digests only");
        return 0;
    }
    // Every remainder of eight lanes, and the borders of the 32 groups that share an inversion.
    for (size_t n = 1; n <= 17; n++) batch(n);
    for (size_t n = 255; n <= 257; n++) batch(n);
    puts("good");
    return 0;
}
