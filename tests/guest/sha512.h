/* SPDX-License-Identifier: GPL-2.0 */
/*
 * SHA-512 by the machine's own instructions, COMPUTE INTERMEDIATE and LAST MESSAGE DIGEST: fast under
 * emulation, and they read their operand inside one long, interruptible instruction.
 */
#ifndef SHA512_H
#define SHA512_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SHA512_HEX	(2 * 64 + 1)

struct sha512 {
	uint64_t state[8];
	uint64_t bits[2];	/* length of the message, for KLMD */
};

static const uint64_t sha512_start[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

static inline void sha512_init(struct sha512 *sum)
{
	memcpy(sum->state, sha512_start, sizeof(sum->state));
	sum->bits[0] = sum->bits[1] = 0;
}

/* Condition code 3 is a partial completion: go on. */
#define SHA512_INSTRUCTION(opcode, sum, data, size) do {			\
	register unsigned long function asm("0") = 3;				\
	register void *parameters asm("1") = (sum);				\
	register const unsigned char *from asm("2") = (data);			\
	register size_t length asm("3") = (size);				\
	asm volatile("0: .insn rre," opcode ",0,%0\n"				\
		     "   brc 1,0b"						\
		     : "+d"(from), "+d"(length)					\
		     : "d"(function), "d"(parameters)				\
		     : "cc", "memory");						\
} while (0)

/* size is a multiple of 128. */
static inline void sha512_add(struct sha512 *sum, const unsigned char *data, size_t size)
{
	sum->bits[1] += 8 * size;
	SHA512_INSTRUCTION("0xb93e0000", sum, data, size);
}

/* The rest of the message; hex has room for SHA512_HEX characters. */
static inline void sha512_end(struct sha512 *sum, const unsigned char *data, size_t size, char *hex)
{
	sum->bits[1] += 8 * size;
	SHA512_INSTRUCTION("0xb93f0000", sum, data, size);
	for (int i = 0; i < 8; i++)
		sprintf(hex + 16 * i, "%016lx", sum->state[i]);
}

#endif /* SHA512_H */
