/* What the files of the native Paillier kernel share: blocks of eight numbers and the two
 * engines that compute with them.
 *
 * A block holds LANES numbers, limb-major: limb l of lane i is x[l * LANES + i], so a block of
 * k limbs is also the lower part of any longer one.  One number per lane: lanes never talk to
 * each other.  Limbs have 52 bits (ifma) or 64 bits (portable).
 *
 * Montgomery without final subtraction (Walter 1999): for R = 2^(radix * limbs) > 2^8 * n every
 * product of values under 2n (or of one value under R and one under n) stays under 2n.
 * `engine.reduce` brings it under n when it leaves.
 *
 * Source: protocols.md section 0; Montgomery 1985; Gueron and Krasnov 2016 for radix 2^52.
 */
#ifndef ASSENT_NATIVE_H
#define ASSENT_NATIVE_H

#include <stddef.h>
#include <stdint.h>

#define LANES 8
#define STEP 5         /* the ifma engine multiplies this many limbs of b at a time */
#define MIN_LIMBS 10   /* so that its head and its body never overlap */
#define MAX_LIMBS 170  /* 170 * 4 halves of 52 bits per column stay far under 2^64 */
#define MAX_WINDOW 8

typedef struct {
    int limbs;
    uint64_t inverse;  /* -1/n mod 2^radix */
    uint64_t *n;       /* a block, the same number in every lane */
} modulus;

typedef struct {
    const char *name;
    int radix;  /* bits per limb */
    int step;   /* limbs come in multiples of this */
    /* x = the eight rows of `width` little-endian bytes; bytes beyond `limbs` must be zero. */
    void (*load)(uint64_t *x, int limbs, const uint8_t *const rows[LANES], size_t width);
    /* r = a * b / 2^(radix * rows) mod n; a has n's limbs, b has `rows`.  r may be a or b. */
    void (*mont)(uint64_t *r, const uint64_t *a, const uint64_t *b, int rows, const modulus *m,
                 uint64_t *work);
    /* r = x / R mod n for x of 2 * limbs and under n * R. */
    void (*redc)(uint64_t *r, const uint64_t *x, const modulus *m, uint64_t *work);
    /* r = a * b mod 2^(radix * nr); r is neither a nor b. */
    void (*multiply)(uint64_t *r, int nr, const uint64_t *a, int na, const uint64_t *b, int nb);
    void (*add)(uint64_t *r, const uint64_t *a, const uint64_t *b, int limbs);
    void (*subtract)(uint64_t *r, const uint64_t *a, const uint64_t *b, int limbs);
    /* r += x; the carries of up to 2^11 calls may be left to `settle`. */
    void (*accumulate)(uint64_t *r, const uint64_t *x, int limbs);
    void (*settle)(uint64_t *r, int limbs);
    /* x - n where x >= n, `times` times, in the same time whatever x is. */
    void (*reduce)(uint64_t *x, const modulus *m, int times, uint64_t *work);
    /* Lane i gets entry index[i] of a table[limb][entry]; every entry is read. */
    void (*look_up)(uint64_t *r, const uint64_t *table, const uint64_t index[LANES], int entries,
                    int limbs);
    /* r = blocks[index]; every block is read. */
    void (*pick)(uint64_t *r, const uint64_t *blocks, int count, int index, int limbs);
} engine;

extern const engine portable_engine;
const engine *ifma_engine(void); /* NULL where compiler or processor lack it */

/* -- memory.c: bytes, blocks, and memory that is wiped before it is given back ------------- */

typedef struct {
    uint64_t *base;
    size_t words, used;
} arena;

/* Room for `limbs` limbs of blocks; 0 if there is no memory. */
int arena_open(arena *a, size_t limbs);
uint64_t *arena_take(arena *a, size_t limbs);
void arena_close(arena *a);
void wipe(void *data, size_t bytes);

uint64_t limb_of(const uint8_t *bytes, size_t width, int radix, int at);
void store(uint8_t *const rows[LANES], size_t width, const uint64_t *x, int limbs, int radix);
void broadcast(const engine *e, uint64_t *x, int limbs, const uint8_t *bytes, size_t width);
/* a < b, little-endian, in the same time whatever they are. */
int less(const uint8_t *a, const uint8_t *b, size_t width);

/* n must be odd, and 2^8 * n fit into `limbs`.  0 if it does not, or no memory. */
int modulus_open(modulus *m, const engine *e, int limbs, const uint8_t *n, size_t width);
void modulus_close(modulus *m);

/* Rows of an array as it lies in memory. */
typedef struct {
    uint8_t *data;
    ptrdiff_t stride;
    size_t rows, width;
} matrix;

static inline uint8_t *row(const matrix *a, size_t i)
{
    return a->data + (ptrdiff_t)i * a->stride;
}

/* The rows from `first` of the eight lanes; `spare` stands in beyond the end. */
void lanes(uint8_t *rows[LANES], const matrix *a, size_t first, uint8_t *spare);

/* -- power.c -------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *bytes; /* little-endian */
    int bits;
    int secret; /* if not, zero digits are skipped */
} exponent;

/* Limbs of workspace that `power` needs beyond its arguments. */
size_t power_limbs(const modulus *m);
/* x = x^e, Montgomery form in and out; one = R mod n. */
void power(const engine *e, uint64_t *x, const uint64_t *one, exponent exp, const modulus *m,
           uint64_t *table, uint64_t *work);

/* -- owner.c: what only the key's owner does ----------------------------------------------- */

/* Constants of one prime p (the other one is q), in the order in which Python passes them.
 * R1, R2: Montgomery's R of the moduli of half and of full length. */
enum {
    C_P,        /* p */
    C_SQUARE,   /* p^2 */
    C_ENTER,    /* R2^3 mod p^2: from redc's output to Montgomery form */
    C_ONE,      /* R2 mod p^2 */
    C_EXPONENT, /* p - 1 */
    C_EXACT,    /* 1/p mod R1, for exact division */
    C_H,        /* 1/L((n+1)^(p-1)) * R1 mod p */
    C_OTHER,    /* q * R1^2 mod p */
    C_UNIT,     /* R1 mod p */
    C_CROSS,    /* of q only: R1/p mod q; of p: 0 */
    C_CROSS2,   /* of q only: R2/p^2 mod q^2; of p: 0 */
    C_COUNT
};

typedef struct {
    modulus prime, square;
    uint64_t *constant[C_COUNT]; /* blocks of 2 * half limbs */
    uint8_t *exponent;
    int exponent_bits;
} side;

typedef struct {
    const engine *e;
    int half; /* limbs of p and of q */
    side p, q;
    arena held;
} owner;

typedef struct {
    const engine *e;
    int half, window, count, entries;
    uint64_t *start; /* a block: what undoes every window's division, times R2 */
    uint64_t *table; /* per window: residues[limb][entry], slopes[limb][entry] */
    arena held;
} tables;

owner *owner_new(const engine *e, int half, const uint8_t *constants, size_t width);
void owner_free(owner *o);
tables *tables_new(const engine *e, int half, int window, int count, const matrix *residues,
                   const matrix *slopes, const uint8_t *start, size_t width);
void tables_free(tables *t);
/* 0, or -1 without memory. */
int owner_encrypt(const owner *o, const tables *tp, const tables *tq, const matrix *ep,
                  const matrix *eq, const matrix *plain, const matrix *out);
/* 0; -1 without memory; 1 if a row is no ciphertext. */
int owner_decrypt(const owner *o, const matrix *cts, const matrix *out);
/* out = (1 + m*n) * r^n by CRT, r in `units`: for keys whose p-1 is not factored. */
int owner_textbook(const owner *o, const uint8_t *np, const uint8_t *nq, size_t nwidth,
                   const matrix *units, const matrix *plain, const matrix *out);

/* -- public.c: what anybody does with ciphertexts ------------------------------------------ */

#define MAX_RUN 128

typedef struct {
    const engine *e;
    modulus n, square;
    uint64_t *one, *enter; /* R and R^2 mod n^2, blocks */
    uint64_t *powers;      /* R^t mod n^2 for t <= MAX_RUN, limbs only */
    uint8_t *idle;         /* R mod n^2 as a row */
    size_t width;
    arena held;
} public_key;

public_key *public_new(const engine *e, int n_limbs, int limbs, const uint8_t *n,
                       const uint8_t *square, const uint8_t *one, const uint8_t *enter,
                       size_t width);
void public_free(public_key *k);
/* Row i of out = product of cts[order[j]] for runs[2*i] <= j < runs[2*i+1], at most MAX_RUN. */
int public_products(const public_key *k, const matrix *cts, const int64_t *order,
                    const int64_t *runs, const matrix *out);
int public_multiply(const public_key *k, const matrix *a, const matrix *b, const matrix *out);
int public_power(const public_key *k, const matrix *a, exponent exp, const matrix *out);
/* Row i of out = product over d = 1..count of buckets[i*count + d-1]^d; fix = R^(count*(count+1)/2). */
int public_weighted(const public_key *k, const matrix *buckets, size_t count, const uint8_t *fix,
                    const matrix *out);
/* product: LANES rows, non-unit mod n if any row is; prints: 16 bytes per row under `keys`
 * (4 words per word of a row).  0; -1 without memory; 1 if a row is 0 or not under n^2. */
int public_check(const public_key *k, const matrix *cts, const uint64_t *keys, const matrix *prints,
                 const matrix *product);

#endif
