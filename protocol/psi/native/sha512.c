/* SHA-512 of a batch of strings: see sha512.h.  FIPS 180-4 sections 4.1.3, 5.1.2 and 6.4. */
#include "sha512.h"

#include <string.h>

#define BLOCK 128

/* The first 64 bits of the fractional parts of the cube roots of the first 80 primes. */
static const uint64_t K[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc,
    0x3956c25bf348b538, 0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118,
    0xd807aa98a3030242, 0x12835b0145706fbe, 0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2,
    0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235, 0xc19bf174cf692694,
    0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5,
    0x983e5152ee66dfab, 0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4,
    0xc6e00bf33da88fc2, 0xd5a79147930aa725, 0x06ca6351e003826f, 0x142929670a0e6e70,
    0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed, 0x53380d139d95b3df,
    0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30,
    0xd192e819d6ef5218, 0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8,
    0x19a4c116b8d2d0c8, 0x1e376c085141ab53, 0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8,
    0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373, 0x682e6ff3d6b2b8a3,
    0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b,
    0xca273eceea26619c, 0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178,
    0x06f067aa72176fba, 0x0a637dc5a2c898a6, 0x113f9804bef90dae, 0x1b710b35131c471b,
    0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc, 0x431d67c49c100d4c,
    0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817};

/* And of the square roots of the first 8. */
static const uint64_t START[8] = {
    0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
    0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179};

typedef struct {
    uint64_t h[8];
    uint8_t block[BLOCK];
    size_t fill; /* bytes waiting in block */
    uint64_t size; /* bytes taken so far; 2^61 of them are never reached */
} sha512;

static uint64_t turn(uint64_t x, int by) { return x >> by | x << (64 - by); }

static uint64_t big_endian(const uint8_t *p) {
    uint64_t x = 0;
    for (int i = 0; i < 8; i++) x = x << 8 | p[i];
    return x;
}
static void put_big_endian(uint8_t *p, uint64_t x) {
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(x >> (56 - 8 * i));
}

static void compress(uint64_t h[8], const uint8_t *block) {
    uint64_t w[80], s[8];
    for (int i = 0; i < 16; i++) w[i] = big_endian(block + 8 * i);
    for (int i = 16; i < 80; i++) {
        const uint64_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (turn(x, 1) ^ turn(x, 8) ^ x >> 7) + w[i - 7] +
               (turn(y, 19) ^ turn(y, 61) ^ y >> 6);
    }
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 80; i++) {
        const uint64_t e = s[4], a = s[0];
        const uint64_t one = s[7] + (turn(e, 14) ^ turn(e, 18) ^ turn(e, 41)) +
                             ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
        const uint64_t two = (turn(a, 28) ^ turn(a, 34) ^ turn(a, 39)) +
                             ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        s[7] = s[6], s[6] = s[5], s[5] = e, s[4] = s[3] + one;
        s[3] = s[2], s[2] = s[1], s[1] = a, s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
}

static void take(sha512 *state, const uint8_t *data, size_t size) {
    state->size += size;
    while (size) {
        const size_t room = BLOCK - state->fill, part = size < room ? size : room;
        memcpy(state->block + state->fill, data, part);
        state->fill += part, data += part, size -= part;
        if (state->fill == BLOCK) {
            compress(state->h, state->block);
            state->fill = 0;
        }
    }
}

static void finish(sha512 *state, uint8_t *out) {
    static const uint8_t padding[BLOCK] = {0x80};
    uint8_t bits[16] = {0};
    put_big_endian(bits + 8, state->size * 8);
    take(state, padding, (state->fill < 112 ? 112 : 112 + BLOCK) - state->fill);
    take(state, bits, sizeof bits);
    for (int i = 0; i < 8; i++) put_big_endian(out + 8 * i, state->h[i]);
}

int sha512_strings(const uint8_t *prefix, size_t prefix_size, const int32_t *offsets,
                   const uint8_t *data, size_t data_size, uint8_t *out, size_t n) {
    sha512 common = {.fill = 0, .size = 0};
    memcpy(common.h, START, sizeof START);
    take(&common, prefix, prefix_size);
    for (size_t i = 0; i < n; i++) {
        sha512 state = common;
        uint8_t length[8];
        if (offsets[i] < 0 || offsets[i + 1] < offsets[i] || (size_t)offsets[i + 1] > data_size)
            return -1;
        const size_t size = (size_t)(offsets[i + 1] - offsets[i]);
        put_big_endian(length, size);
        take(&state, length, sizeof length);
        if (size) take(&state, data + offsets[i], size);
        finish(&state, out + 64 * i);
    }
    return 0;
}
