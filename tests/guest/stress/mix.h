/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What stress and the programs that it executes must agree on: the mixing function, and a sum over every byte of
 * program text that is mapped into the process.
 */
#ifndef STRESS_MIX_H
#define STRESS_MIX_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* dl_iterate_phdr */
#endif
#include <link.h>
#include <stdint.h>
#include <string.h>

#define GOLDEN 0x9e3779b97f4a7c15ull
#define HELLO_NUMBERS 500				/* that dynamic-hello sorts and adds */

/* A bijection whose every output bit depends on every input bit. */
static inline uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/*
 * Only segments that nobody writes: they hold the same bytes wherever they are mapped. The order of the objects is not
 * fixed (the loader may be started by name), so the sums of the objects are added. The vdso is no file.
 */
static inline int text_sum_object(struct dl_phdr_info *info, size_t size, void *sum)
{
	(void)size;
	if (strstr(info->dlpi_name, "vdso"))
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const char *p = (const char *)(info->dlpi_addr + ph->p_vaddr);
		uint64_t word, h = 0;

		if (ph->p_type != PT_LOAD || (ph->p_flags & PF_W))
			continue;
		for (size_t n = 0; n + 8 <= ph->p_filesz; n += 8) {
			memcpy(&word, p + n, 8);
			h = (h ^ word) * GOLDEN + (h >> 29);
		}
		*(uint64_t *)sum += h;
	}
	return 0;
}

static inline uint64_t text_sum(void)
{
	uint64_t sum = 0;

	dl_iterate_phdr(text_sum_object, &sum);
	return sum;
}

#endif
