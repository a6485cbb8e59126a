/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of fuzz: ../fuzz.c runs lists of operations, list.c makes, prints and reads them, model.c knows what files must
 * hold, act.c does the operations.
 */
#ifndef FUZZ_H
#define FUZZ_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include "../clock.h"
#include "../stress/mix.h"

#define PAGE		4096u
#define BIG		(16 * PAGE)
#define RW		(PROT_READ | PROT_WRITE)
#define SIZE_MAX_	(1u << 20)		/* of a file, whatever the episode says */
#define FILES		2
#define MAX_PROCS	6
#define MAX_SEGMENTS	16
#define MAX_ROUNDS	32
#define ROUND_OPS	400
#define ANON_PAGES	128			/* of each process: anonymous memory, to be swapped */
#define NOBODY		15			/* owns what does not change in a round, so all may read it */
#define NOT_FOUND	99

/* A part of a file, up to where the next one begins. Only its owner writes there; only the last one's changes the size. */
struct segment {
	uint32_t start;
	uint32_t owner;
};

/*
 * What each operation is about: len bytes of a file at off; those that copy take them from another place. arg chooses
 * among ways to do it. The number is what the content that it writes is made of.
 */
struct op {
	uint32_t number;
	uint32_t proc, verb, file, off, len, from, off2, arg;
};

/* Operations of one process are done in their order, those of several at the same time; rounds one after the other. */
struct round {
	uint32_t segments[FILES];
	struct segment segment[FILES][MAX_SEGMENTS];
	uint32_t ops;
	struct op op[ROUND_OPS];
};

struct episode {
	uint64_t seed;
	uint32_t procs, max;			/* max: of the size of a file */
	uint32_t rounds, last_op;
	uint64_t verbs;				/* that are in use, as bits */
	struct round round[MAX_ROUNDS];
};

enum {
	READS = 1,		/* only what nobody else writes */
	WRITES = 2,		/* only what is its own */
	FROM = 4,		/* takes something from another place, which must be readable */
	ALONE = 8,		/* moves content, so all of the file must be its own */
	PAGES = 16,		/* whole pages only */
	SIZES = 32,		/* changes the size: the last segment */
	SYSTEM = 64,		/* no file */
	ANON = 128,		/* anonymous memory, or takes something from it */
	HINTS = 256,		/* what it does is not seen in the content */
	OTHER = 512,		/* takes it from another file only */
	INSIDE = 1024,		/* never behind the end of the file */
};

struct verb {
	const char *name;
	void (*act)(const struct op *op);
	uint32_t kind;
	uint32_t weight;
	bool (*known)(void);			/* can it be done here? If it is NULL, always */
};

struct file {
	int fd, direct;
	char name[8];
	unsigned char *want;			/* what it must hold, with zeros behind its end */
	uint32_t size;
	unsigned char *shared, *private;	/* mappings that stay */
};

struct shared {
	int failed;
	int64_t deadline, hang_ms;
	pthread_barrier_t barrier;
	struct { pid_t pid; int64_t beat; uint32_t op; uint64_t ops; bool finished; } proc[MAX_PROCS];
};

extern const struct verb verbs[];
extern uint32_t nverbs;
extern struct shared *sh;
extern struct episode *ep;
extern struct file file[FILES];
extern uint32_t me;				/* number of this process */
extern const struct op *doing;
extern uint32_t left;			/* of its length: what there is to do */
extern const char *group;			/* a memory cgroup, or NULL */
extern bool host_listens, big_folios, btrfs;

/* ../fuzz.c */
void refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* list.c */
void start_episode(uint64_t seed, uint32_t procs);
void next_round(void);
void print_head(FILE *out);
void print_round(FILE *out, uint32_t number);
void print_op(FILE *out, const struct op *op);
void read_list(FILE *in);

/* model.c */
void begin_round(const struct round *r, bool really);
uint32_t fits(const struct op *op);
void apply(const struct op *op);
void anon_content(uint32_t proc, uint32_t off, uint32_t len, unsigned char *out);
void check(const struct file *f, uint32_t off, const void *found, uint32_t len, const char *how);
void check_memory(const char *what, uint32_t off, const unsigned char *want, const unsigned char *found, uint32_t len);
void fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* act.c */
void open_files(void);
void close_files(void);
void make_files(void);
void check_sizes(void);
void check_everything(void);
uint32_t find_verb(const char *name);

static inline const struct segment *last_segment(const struct round *r, uint32_t f)
{
	return &r->segment[f][r->segments[f] - 1];
}

#define must(call) ({ typeof(call) r_ = (call); if (r_ == (typeof(call))-1) fail("%s: %m", #call); r_; })

#endif
