// SPDX-License-Identifier: GPL-2.0
/* Lists of operations: made of a seed, printed, and read again. */
#include "fuzz.h"
#include <stdarg.h>

static uint64_t state;

static uint64_t rnd(void)
{
	return mix(state += GOLDEN);
}

static uint32_t below(uint32_t n)
{
	return n ? rnd() % n : 0;
}

static bool chance(uint32_t percent)
{
	return below(100) < percent;
}

/* A different choice of operations each time: what one kind undoes can not hide what another does. */
void start_episode(uint64_t seed, uint32_t procs)
{
	static const uint32_t sizes[] = { BIG, BIG, 4 * BIG, 16 * BIG };

	state = mix(seed);
	ep->seed = seed;
	ep->procs = 1 + below(procs);
	if (ep->procs < procs && chance(50))
		ep->procs++;
	ep->max = sizes[below(4)];
	ep->rounds = ep->last_op = 0;
	ep->verbs = 0;
	for (uint32_t i = 0; i < nverbs; i++) {
		bool chosen = chance(70);

		if ((chosen || i < 4) && (!verbs[i].known || verbs[i].known()))
			ep->verbs |= 1ull << i;
	}
}

/* Borders of pages and their neighbourhood, or anywhere. */
static uint32_t somewhere(uint32_t end)
{
	uint32_t off = below(end + 1);

	if (chance(50))
		off = off / PAGE * PAGE;
	else if (chance(30))
		off = off / PAGE * PAGE + below(16);
	return off < end ? off : end;
}

static int by_start(const void *a, const void *b)
{
	uint32_t x = ((const struct segment *)a)->start, y = ((const struct segment *)b)->start;

	return x < y ? -1 : x > y;
}

static void share_out(struct round *r, uint32_t f)
{
	uint32_t n = 1, kept = 0, tail = somewhere(ep->max / 4 * 3);
	struct segment *s = r->segment[f];

	s[0] = (struct segment){ 0, below(ep->procs) };
	if (ep->procs > 1 && chance(65)) {
		n = 2 + below(2 * ep->procs);
		/* Often all of them meet in few pages. */
		uint32_t room = chance(40) && tail > 2 * PAGE ? 2 * PAGE : tail;

		for (uint32_t i = 1; i < n; i++) {
			s[i].start = chance(30) ? tail : tail - somewhere(room);
			s[i].owner = chance(25) ? NOBODY : below(ep->procs);
		}
		if (chance(25))
			s[0].owner = NOBODY;
	}
	qsort(s, n, sizeof(*s), by_start);
	for (uint32_t i = 0; i < n; i++)
		if (i + 1 == n || s[i + 1].start > s[i].start)
			s[kept++] = s[i];
	r->segments[f] = kept;
}

static struct op *add(struct round *r, uint32_t proc, const char *verb)
{
	struct op *op = &r->op[r->ops];
	uint32_t v = find_verb(verb);

	if (r->ops == ROUND_OPS || !(ep->verbs >> v & 1))
		return NULL;
	r->ops++;
	*op = (struct op){ .number = ++ep->last_op, .proc = proc, .verb = v, .arg = below(64) };
	return op;
}

struct part {
	uint32_t file, start, end;
};

/* Where a process may read, or write; false if there is nothing. */
static bool choose_part(const struct round *r, uint32_t proc, bool write, uint32_t not_file, struct part *part)
{
	uint32_t seen = 0;

	for (uint32_t f = 0; f < FILES; f++)
		for (uint32_t i = 0; f != not_file && i < r->segments[f]; i++) {
			const struct segment *s = &r->segment[f][i];
			bool last = i + 1 == r->segments[f];
			uint32_t end = last ? ep->max : s[1].start;

			if (s->owner != proc && (write || s->owner != NOBODY))
				continue;
			/* Behind the end is little to see. */
			if (last && end > file[f].size + BIG)
				end = file[f].size + BIG;
			if (s->start >= end || below(++seen))
				continue;
			*part = (struct part){ f, s->start, end };
		}
	return seen;
}

static bool choose_range(const struct part *part, bool pages, uint32_t max, uint32_t *off, uint32_t *len)
{
	uint32_t start = part->start, end = part->end, unit = pages ? PAGE : 1, room;

	if (pages) {
		start = (start + PAGE - 1) / PAGE * PAGE;
		end = end / PAGE * PAGE;
	}
	if (start >= end)
		return false;
	if (chance(70) && max > 2 * PAGE)
		max = 2 * PAGE;
	room = end - start;
	if (max > room)
		max = room;
	*len = (1 + below(max / unit)) * unit;
	if (chance(15))
		*len = max / unit * unit;
	if (!pages && chance(20))
		*len = 1 + below(*len < 64 ? *len : 64);
	*off = start + (pages ? below((room - *len) / PAGE + 1) * PAGE : somewhere(room - *len));
	return *len > 0;
}

/* What is written back, dropped and read is volatile at once: the state that most operations are to find. */
static void prepare(struct round *r, uint32_t proc, uint32_t f, uint32_t off, uint32_t len)
{
	static const struct { const char *verb; uint32_t percent; } steps[] = {
		{ "sync", 90 }, { "advise", 90 }, { "read", 90 }, { "read", 40 }, { "drain", 80 }, { "settle", 15 },
	};

	if (!chance(65))
		return;
	for (uint32_t i = 0; i < 6; i++) {
		struct op *op = chance(steps[i].percent) ? add(r, proc, steps[i].verb) : NULL;

		if (!op)
			continue;
		op->file = f;
		op->off = off;
		op->len = len;
		/* Most often this range only, and dropped. */
		if (i < 2 && chance(70))
			op->arg = i ? 0 : 3;
	}
}

static uint32_t pick_verb(void)
{
	uint32_t total = 0;

	for (uint32_t i = 0; i < nverbs; i++)
		if (ep->verbs >> i & 1)
			total += verbs[i].weight;
	total = below(total);
	for (uint32_t i = 0; ; i++)
		if (ep->verbs >> i & 1) {
			if (total < verbs[i].weight)
				return i;
			total -= verbs[i].weight;
		}
}

static void make_op(struct round *r, uint32_t proc)
{
	uint32_t v = pick_verb(), kind = verbs[v].kind;
	struct part part = { 0, 0, 0 }, source = { 0, 0, 0 };
	uint32_t off = 0, len = 0, off2 = 0;
	struct op *op;

	if (kind & SIZES && kind & WRITES) {
		uint32_t f = below(FILES);
		const struct segment *s = last_segment(r, f);
		uint32_t end = file[f].size + BIG < ep->max ? file[f].size + BIG : ep->max;

		if (s->owner != proc || (kind & ALONE && r->segments[f] > 1) || s->start >= end)
			return;
		part = (struct part){ f, s->start, end };
	} else if (kind & ANON && !(kind & (READS | WRITES))) {
		part.end = ANON_PAGES * PAGE;
	} else if (!(kind & SYSTEM) && !choose_part(r, proc, kind & WRITES, FILES, &part)) {
		return;
	}
	if (!(kind & SYSTEM) && !choose_range(&part, kind & PAGES, BIG, &off, &len))
		return;
	if (kind & FROM) {
		if (kind & ANON)
			source.end = ANON_PAGES * PAGE;
		else if (!choose_part(r, proc, false, kind & OTHER ? part.file : FILES, &source))
			return;
		if (!choose_range(&source, kind & PAGES, len, &off2, &len))
			return;
		if (!(kind & ANON))
			prepare(r, proc, source.file, off2, len);
	}
	if (kind & (READS | WRITES))
		prepare(r, proc, part.file, off, len);
	op = add(r, proc, verbs[v].name);
	if (!op)
		return;
	op->file = part.file;
	op->off = off;
	op->len = len;
	op->from = source.file;
	op->off2 = off2;
	/* What was written is looked at, sometimes. */
	if (kind & WRITES && chance(40)) {
		op = add(r, proc, chance(50) ? "map-read" : "read");
		if (op) {
			op->file = part.file;
			op->off = off;
			op->len = len;
		}
	}
}

/* The model must be at the end of the round before. */
void next_round(void)
{
	struct round *r = &ep->round[ep->rounds++];

	memset(r, 0, sizeof(*r));
	for (uint32_t f = 0; f < FILES; f++)
		share_out(r, f);
	for (uint32_t proc = 0; proc < ep->procs; proc++)
		for (uint32_t n = 2 + below(6); n; n--)
			make_op(r, proc);
}

void print_head(FILE *out)
{
	fprintf(out, "episode seed %llu procs %u max %x\n", (unsigned long long)ep->seed, ep->procs, ep->max);
}

void print_op(FILE *out, const struct op *op)
{
	fprintf(out, "op %u p%u %s f%u %x+%x f%u %x %u\n", op->number, op->proc, verbs[op->verb].name, op->file, op->off,
		op->len, op->from, op->off2, op->arg);
}

void print_round(FILE *out, uint32_t number)
{
	const struct round *r = &ep->round[number];

	fprintf(out, "round\n");
	for (uint32_t f = 0; f < FILES; f++) {
		fprintf(out, "own f%u", f);
		for (uint32_t i = 0; i < r->segments[f]; i++)
			fprintf(out, " %x:%u", r->segment[f][i].start, r->segment[f][i].owner);
		fprintf(out, "\n");
	}
	for (uint32_t i = 0; i < r->ops; i++)
		print_op(out, &r->op[i]);
}

static uint32_t line_number;

static void bad(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	refuse("line %u of the list: %s", line_number, text);
}

/* All that an operation touches must be within what its process may touch; else what is found there would be chance. */
static bool inside(const struct round *r, const struct op *op, uint32_t f, uint32_t off, uint32_t len, bool write)
{
	for (uint32_t i = 0; i < r->segments[f]; i++) {
		const struct segment *s = &r->segment[f][i];
		uint32_t end = i + 1 == r->segments[f] ? ep->max : s[1].start;

		if (off + len > s->start && off < end && s->owner != op->proc && (write || s->owner != NOBODY))
			return false;
	}
	return off + len <= ep->max && off + len >= off;
}

static void validate(const struct round *r, const struct op *op)
{
	uint32_t kind = verbs[op->verb].kind;

	if (op->proc >= ep->procs || op->file >= FILES || op->from >= FILES)
		bad("there is no such process, or file");
	if (verbs[op->verb].known && !verbs[op->verb].known())
		bad("%s can not be done here", verbs[op->verb].name);
	if (kind & SYSTEM)
		return;
	if (kind & PAGES && (op->off | op->len | op->off2) % PAGE)
		bad("%s takes whole pages", verbs[op->verb].name);
	if (kind & OTHER && op->file == op->from)
		bad("%s takes two files", verbs[op->verb].name);
	if (kind & ANON && (kind & FROM ? op->off2 : op->off) + op->len > ANON_PAGES * PAGE)
		bad("it is outside of anonymous memory");
	if (kind & ANON && !(kind & FROM))
		return;
	if (!(kind & HINTS) && !inside(r, op, op->file, op->off, op->len, kind & WRITES))
		bad("the process does not own that");
	if (kind & FROM && !(kind & ANON) && !inside(r, op, op->from, op->off2, op->len, false))
		bad("the process may not read that");
	if (kind & ALONE && (r->segments[op->file] > 1 || r->segment[op->file][0].owner != op->proc))
		bad("the file has several owners");
	if (kind & SIZES && (last_segment(r, op->file)->owner != op->proc || op->off < last_segment(r, op->file)->start))
		bad("the process does not own the end of the file");
}

void read_list(FILE *in)
{
	char line[1000], name[32];
	struct round *r = NULL;

	memset(ep, 0, sizeof(*ep));
	for (line_number = 1; fgets(line, sizeof(line), in); line_number++) {
		unsigned long long seed;
		uint32_t f;
		int used;

		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (!ep->procs) {
			if (sscanf(line, "episode seed %llu procs %u max %x", &seed, &ep->procs, &ep->max) != 3)
				bad("a list begins with \"episode seed N procs N max SIZE\"");
			if (!ep->procs || ep->procs > MAX_PROCS || !ep->max || ep->max > SIZE_MAX_)
				bad("1 to %u processes, size 1 to %x", MAX_PROCS, SIZE_MAX_);
			ep->seed = seed;
		} else if (!strcmp(line, "round\n")) {
			if (ep->rounds == MAX_ROUNDS)
				bad("more than %u rounds", MAX_ROUNDS);
			r = &ep->round[ep->rounds++];
		} else if (r && sscanf(line, "own f%u%n", &f, &used) == 1) {
			struct segment *s;
			char *p = line + used;

			if (f >= FILES || r->ops)
				bad("there is no such file, or its owners come too late");
			for (r->segments[f] = 0; ; p += used, r->segments[f]++) {
				s = &r->segment[f][r->segments[f]];
				if (r->segments[f] == MAX_SEGMENTS || sscanf(p, " %x:%u%n", &s->start, &s->owner, &used) != 2)
					break;
				if (r->segments[f] ? s->start <= s[-1].start : s->start)
					bad("the first segment begins at 0, each other one after the one before");
			}
			if (*p != '\n' || !r->segments[f] || last_segment(r, f)->start >= ep->max)
				bad("\"START:OWNER\" is expected, up to %u times, below %x", MAX_SEGMENTS, ep->max);
		} else if (r) {
			struct op *op = &r->op[r->ops];

			if (r->ops == ROUND_OPS || !r->segments[0] || !r->segments[1])
				bad("more than %u operations in a round, or one before the owners", ROUND_OPS);
			if (sscanf(line, "op %u p%u %31s f%u %x+%x f%u %x %u", &op->number, &op->proc, name, &op->file, &op->off,
				   &op->len, &op->from, &op->off2, &op->arg) != 9)
				bad("\"op NUMBER pPROCESS NAME fFILE OFFSET+LENGTH fFILE OFFSET ARGUMENT\" is expected");
			op->verb = find_verb(name);
			if (op->verb == NOT_FOUND)
				bad("no operation is called %s", name);
			validate(r, op);
			r->ops++;
			if (op->number > ep->last_op)
				ep->last_op = op->number;
		} else {
			bad("\"round\" is expected");
		}
	}
	if (!ep->rounds)
		refuse("the list is empty");
}
