/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MARK_H
#define MARK_H

/* Branches that are not taken; tests/plugin/count.c knows them. */
#define MARK(n)		asm volatile(".insn ri,0xa7040000,0,0x4840+" #n ::: "memory")
#define BEGIN()		MARK(1)
#define END()		MARK(2)

#endif
