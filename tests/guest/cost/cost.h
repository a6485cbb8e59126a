/* SPDX-License-Identifier: GPL-2.0 */
/* A load, and what the loads share. */
#ifndef COST_H
#define COST_H

#include "../swapping.h"

#define MIB		(1ul << 20)
#define MIB_PAGES	(MIB / PAGE)

struct load {
	const char *name, *unit;
	size_t pages;			/* of its file, which is cached; 0: it has none */
	void (*setup)(void);
	unsigned long (*once)(void);	/* returns how many units that were */
};

extern const struct load read_loads[], map_loads[], process_loads[], pipe_loads[],
	write_loads[], memory_loads[];

extern const char *dir;
extern int fd;				/* the load's file */
extern size_t length;			/* of it */
extern char buffer[MIB];

/*
 * Branches that are not taken; tests/plugin/count.c knows them.  A load that has something to
 * prepare each time ends what is counted before, and begins it again after.
 */
#define MARK(n)		asm volatile(".insn ri,0xa7040000,0,0x4840+" #n ::: "memory")
#define BEGIN()		MARK(1)
#define END()		MARK(2)
#define END_PASS()	MARK(3)

/* The whole of a system call is done, or the load is none. */
#define all_of(call, expected)								\
	do {										\
		ssize_t got_ = must(call), want_ = (expected);				\
		if (got_ != want_)							\
			fail("%s: %zd of %zd", #call, got_, want_);			\
	} while (0)

static inline void read_pages(char *p, size_t bytes)
{
	for (size_t off = 0; off < bytes; off += PAGE)
		*(volatile char *)(p + off);
}

static inline void write_pages(char *p, size_t bytes)
{
	for (size_t off = 0; off < bytes; off += PAGE)
		*(volatile char *)(p + off) = 1;
}

#endif
