/* ristretto255 (RFC 9496) for many points at once, eight lanes of AVX-512 IFMA.
 *
 * What: the two operations of ecdh matching, protocols.md section 1.  Who runs it: every party.
 * Learns: nothing; the scalar is the party's secret.  Time and addresses do not depend on it:
 * all lanes multiply by the same scalar in one fixed schedule, every table entry is read.
 * Which of a peer's strings decode does decide how far a call gets: they are the peer's own.
 */
#ifndef ASSENT_RISTRETTO_IFMA_H
#define ASSENT_RISTRETTO_IFMA_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)
#define ASSENT_HAS_IFMA_CODE 1
#else
#define ASSENT_HAS_IFMA_CODE 0
#endif

#define RISTRETTO_GOOD (-1)
#define RISTRETTO_IDENTITY (-2)

/* Does this processor, under this operating system, run the rest of this file? */
int ristretto_available(void);

/* out[i] = scalar · row i, 32 bytes each; a scalar in 1…ℓ-1, 32 bytes little-endian.
 * Rows are encodings of 32 bytes, or with `derived` 64 uniform bytes each, whose element
 * (`ristretto_map`) is multiplied without being encoded in between.
 * Returns RISTRETTO_GOOD, the index of the first row that is not the canonical encoding of an
 * element other than the identity, or RISTRETTO_IDENTITY: a derived element was the identity
 * (2^-252).  `out` holds nothing of use then. */
int64_t ristretto_blind(const uint8_t scalar[32], const uint8_t *rows, int derived, uint8_t *out,
                        size_t n);

/* out[i] = the element that the 64 uniform bytes of row i derive (RFC 9496 section 4.3.4). */
void ristretto_map(const uint8_t *wide, uint8_t *out, size_t n);

#endif
