/* Replays calls that Python recorded (test_native_sanitized.py) against the kernel's C files,
 * without Python around them, so that they can be built with address and undefined-behaviour
 * sanitizers.  Every array lies in its own allocation of exactly its size.
 *
 * The recording is lines of words; arrays follow as hexadecimal.  Exit status 1: another result.
 */
#include "native.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 12

typedef struct {
    char kind;          /* s: word, i: number, m: array, o: array with the expected result, c: key */
    long number;        /* of i; of c the place among the keys */
    char word[64];
    matrix m;
    uint8_t *expected;
} argument;

static void *keys[64];
static int key_count;

static uint8_t *array(size_t bytes)
{
    uint8_t *data = malloc(bytes ? bytes : 1);
    for (size_t i = 0; i < bytes; i++) {
        unsigned value;
        if (scanf("%2x", &value) != 1)
            exit(2);
        data[i] = (uint8_t)value;
    }
    return data;
}

static int read_argument(argument *a)
{
    *a = (argument){.kind = 0};
    if (scanf(" %c", &a->kind) != 1)
        return 0;
    if (a->kind == 's')
        return scanf("%63s", a->word) == 1;
    if (a->kind == 'i' || a->kind == 'c')
        return scanf("%ld", &a->number) == 1;
    if (scanf("%zu %zu ", &a->m.rows, &a->m.width) != 2)
        return 0;
    size_t bytes = a->m.rows * a->m.width;
    a->m.data = array(bytes);
    a->m.stride = (ptrdiff_t)a->m.width;
    if (a->kind == 'o') {
        a->expected = a->m.data;
        a->m.data = malloc(bytes ? bytes : 1);
    }
    return 1;
}

static int call(const char *name, argument *a)
{
    const engine *e = NULL;
    if (a[0].kind == 's')
        e = strcmp(a[0].word, "portable") == 0 ? &portable_engine : ifma_engine();
    void *key = a[0].kind == 'c' ? keys[a[0].number] : NULL;
    if (strcmp(name, "owner") == 0)
        keys[key_count++] = owner_new(e, (int)a[1].number, a[2].m.data, a[2].m.width);
    else if (strcmp(name, "tables") == 0)
        keys[key_count++] = tables_new(e, (int)a[1].number, (int)a[2].number, (int)a[3].number,
                                       &a[4].m, &a[5].m, a[6].m.data, a[6].m.width);
    else if (strcmp(name, "public") == 0)
        keys[key_count++] = public_new(e, (int)a[1].number, (int)a[2].number, a[3].m.data,
                                       a[4].m.data, a[5].m.data, a[6].m.data, a[3].m.width);
    else if (strcmp(name, "encrypt") == 0)
        return owner_encrypt(key, keys[a[1].number], keys[a[2].number], &a[3].m, &a[4].m, &a[5].m,
                             &a[6].m);
    else if (strcmp(name, "textbook") == 0)
        return owner_textbook(key, a[1].m.data, a[2].m.data, a[1].m.width, &a[3].m, &a[4].m,
                              &a[5].m);
    else if (strcmp(name, "decrypt") == 0)
        return owner_decrypt(key, &a[1].m, &a[2].m);
    else if (strcmp(name, "products") == 0)
        return public_products(key, &a[1].m, (const int64_t *)a[2].m.data,
                               (const int64_t *)a[3].m.data, &a[4].m);
    else if (strcmp(name, "multiply") == 0)
        return public_multiply(key, &a[1].m, &a[2].m, &a[3].m);
    else if (strcmp(name, "power") == 0)
        return public_power(key, &a[1].m, (exponent){a[2].m.data, (int)a[3].number, 0}, &a[4].m);
    else if (strcmp(name, "weighted") == 0)
        return public_weighted(key, &a[1].m, (size_t)a[2].number, a[3].m.data, &a[4].m);
    else if (strcmp(name, "check") == 0)
        return public_check(key, &a[1].m, (const uint64_t *)a[2].m.data, &a[3].m, &a[4].m);
    else
        return -2;
    return keys[key_count - 1] == NULL ? -1 : 0;
}

int main(void)
{
    char name[64], kinds[64];
    int count, status, calls = 0;
    while (scanf("%63s %d %d", name, &count, &status) == 3) {
        argument a[MOST];
        for (int i = 0; i < count; i++)
            if (!read_argument(&a[i]))
                return 2;
        if (strcmp(name, "owner") == 0 || strcmp(name, "tables") == 0 ||
            strcmp(name, "public") == 0)
            kinds[key_count] = name[0];
        int found = call(name, a);
        if (found != status) {
            printf("call %d, %s: status %d, not %d\n", calls, name, found, status);
            return 1;
        }
        for (int i = 0; i < count; i++) {
            if (a[i].expected != NULL &&
                memcmp(a[i].expected, a[i].m.data, a[i].m.rows * a[i].m.width) != 0) {
                printf("call %d, %s: another result\n", calls, name);
                return 1;
            }
            free(a[i].expected);
            free(a[i].m.data);
        }
        calls++;
    }
    for (int i = 0; i < key_count; i++) {
        if (kinds[i] == 'o')
            owner_free(keys[i]);
        else if (kinds[i] == 't')
            tables_free(keys[i]);
        else
            public_free(keys[i]);
    }
    printf("%d calls\n", calls);
    return 0;
}
