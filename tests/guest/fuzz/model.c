// SPDX-License-Identifier: GPL-2.0
/*
 * What the files must hold, and the message when they do not.
 *
 * Each process keeps a copy of its own, in anonymous memory that is locked, and applies the operations of all others to it
 * at the end of a round. So no memory that a defect may spoil is shared with what is tested.
 */
#include "fuzz.h"
#include <stdarg.h>

static uint32_t anon_op[MAX_PROCS][ANON_PAGES];	/* whose content a page has; 0: zeros */

/* What operation @number writes at @off. */
static void content(uint32_t number, uint32_t off, uint32_t len, unsigned char *out)
{
	uint64_t key = mix(ep->seed + number * GOLDEN);

	for (uint32_t n, done = 0; done < len; done += n) {
		uint32_t at = off + done, in = at % 8;
		uint64_t word = mix(key + at / 8);

		n = 8 - in < len - done ? 8 - in : len - done;
		memcpy(out + done, (unsigned char *)&word + in, n);
	}
}

void anon_content(uint32_t proc, uint32_t off, uint32_t len, unsigned char *out)
{
	for (uint32_t n, done = 0; done < len; done += n) {
		uint32_t at = off + done, page = at / PAGE;

		n = PAGE - at % PAGE < len - done ? PAGE - at % PAGE : len - done;
		if (anon_op[proc][page])
			content(anon_op[proc][page], at, n, out + done);
		else
			memset(out + done, 0, n);
	}
}

/* Whatever came before, no process but the owner of the end changes the size in this round, nor meets the end. */
void begin_round(const struct round *r, bool really)
{
	for (uint32_t f = 0; f < FILES; f++) {
		uint32_t start = last_segment(r, f)->start;

		if (file[f].size >= start)
			continue;
		file[f].size = start;
		if (really)
			must(ftruncate(file[f].fd, start));
	}
}

static uint32_t cut(uint32_t off, uint32_t len, uint32_t end)
{
	return off >= end ? 0 : len < end - off ? len : end - off;
}

/*
 * How much of an operation there is to do: a list from which others were taken may find less than there once was. Who does
 * it and who only applies it have to agree, so nothing counts here that only one of them knows.
 */
uint32_t fits(const struct op *op)
{
	const struct verb *v = &verbs[op->verb];
	const struct file *f = &file[op->file];
	uint32_t len = op->len;

	if (v->kind & FROM && !(v->kind & ANON)) {
		len = cut(op->off2, len, file[op->from].size);
		if (v->kind & PAGES)
			len = len / PAGE * PAGE;
		if (op->from == op->file && op->off2 < op->off + len && op->off < op->off2 + len)
			return 0;
	}
	if (v->kind & (READS | INSIDE))
		len = cut(op->off, len, f->size);
	if (v->kind & PAGES && v->kind & WRITES)
		len = len / PAGE * PAGE;
	if (!strcmp(v->name, "collapse") && op->off + len >= f->size)
		return 0;
	if (!strcmp(v->name, "insert") && (op->off >= f->size || f->size + len > ep->max))
		return 0;
	return len;
}

static void grow(struct file *f, uint32_t end)
{
	if (f->size < end)
		f->size = end;
}

void apply(const struct op *op)
{
	const char *name = verbs[op->verb].name;
	uint32_t kind = verbs[op->verb].kind, off = op->off, len;
	struct file *f = &file[op->file];

	if (!strcmp(name, "anon-store") || !strcmp(name, "anon-drop")) {
		for (uint32_t page = off / PAGE; page < (off + op->len) / PAGE; page++)
			anon_op[op->proc][page] = !strcmp(name, "anon-store") ? op->number : 0;
		return;
	}
	if (!(kind & WRITES))
		return;
	if (!strcmp(name, "truncate")) {
		if (off < f->size)
			memset(f->want + off, 0, f->size - off);
		f->size = off;
		return;
	}
	len = fits(op);
	if (!len)
		return;
	if (!strcmp(name, "collapse")) {
		memmove(f->want + off, f->want + off + len, f->size - off - len);
		memset(f->want + f->size - len, 0, len);
		f->size -= len;
	} else if (!strcmp(name, "insert")) {
		memmove(f->want + off + len, f->want + off, f->size - off);
		memset(f->want + off, 0, len);
		f->size += len;
	} else if (!strcmp(name, "punch")) {
		memset(f->want + off, 0, len);
	} else if (!strcmp(name, "zero") || !strcmp(name, "allocate")) {
		/* An odd argument keeps the size. */
		if (!(op->arg & 1))
			grow(f, off + len);
		if (*name == 'z')
			memset(f->want + off, 0, cut(off, len, f->size));
	} else {
		if (kind & FROM && kind & ANON)
			anon_content(op->proc, op->off2, len, f->want + off);
		else if (kind & FROM)
			memcpy(f->want + off, file[op->from].want + op->off2, len);
		else
			content(op->number, off, len, f->want + off);
		grow(f, off + len);
	}
}

static void say_and_exit(const char *text, size_t len)
{
	/* The first one says all. */
	if (!__atomic_exchange_n(&sh->failed, 1, __ATOMIC_SEQ_CST) && write(1, text, len) < 0)
		_exit(3);
	_exit(1);
}

static char report[32768];

/* The beginning of the message; what is done, and by whom. */
static FILE *begin_report(void)
{
	FILE *out = fmemopen(report, sizeof(report), "w");

	fprintf(out, "FAIL seed=%llu round=%u ", (unsigned long long)ep->seed, ep->rounds - 1);
	if (doing)
		print_op(out, doing);
	else
		fprintf(out, "no operation, p%u\n", me);
	return out;
}

static void end_report(FILE *out)
{
	long len = ftell(out);

	fclose(out);
	say_and_exit(report, len < 0 || len > (long)sizeof(report) - 1 ? sizeof(report) - 1 : (size_t)len);
}

void fail(const char *fmt, ...)
{
	int error = errno;
	FILE *out = begin_report();
	va_list ap;

	errno = error;
	va_start(ap, fmt);
	fprintf(out, "  ");
	vfprintf(out, fmt, ap);
	fprintf(out, "\n");
	va_end(ap);
	end_report(out);
	__builtin_unreachable();
}

/* A wrong byte tells most by where it belongs. */
static void whose(FILE *out, const unsigned char *found, uint32_t len)
{
	static const unsigned char zeros[8], poison[8] = { 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1, 0xd1 };
	static unsigned char made[BIG];

	if (len < 8) {
		fprintf(out, "  what was found is too short to say whose it is\n");
		return;
	}
	if (!memcmp(found, zeros, 8) || !memcmp(found, poison, 8)) {
		fprintf(out, "  what was found is %s\n", *found ? "poison of the host" : "zeros");
		return;
	}
	for (uint32_t n = 0; n < ep->rounds; n++)
		for (uint32_t i = 0; i < ep->round[n].ops; i++) {
			const struct op *op = &ep->round[n].op[i];
			unsigned char *at;

			if (op->len > sizeof(made))
				continue;
			content(op->number, op->off, op->len, made);
			at = memmem(made, op->len, found, 8);
			if (!at)
				continue;
			fprintf(out, "  what was found was made for offset %x by ", (uint32_t)(op->off + (at - made)));
			print_op(out, op);
			return;
		}
	fprintf(out, "  what was found is nothing known\n");
}

static void history(FILE *out, uint32_t f, uint32_t off)
{
	fprintf(out, "  what has to do with that byte, and what moves content:\n");
	for (uint32_t n = 0; n < ep->rounds; n++)
		for (uint32_t i = 0; i < ep->round[n].ops; i++) {
			const struct op *op = &ep->round[n].op[i];
			uint32_t kind = verbs[op->verb].kind;

			if (kind & (SYSTEM | ANON) || op->file != f || !(kind & WRITES) ||
			    !(kind & SIZES || (off >= op->off && off < op->off + op->len)))
				continue;
			fprintf(out, "  round %u ", n);
			print_op(out, op);
		}
}

static void hex(FILE *out, const char *title, const unsigned char *p, uint32_t len)
{
	fprintf(out, "  %-9s", title);
	for (uint32_t i = 0; i < len && i < 24; i++)
		fprintf(out, " %02x", p[i]);
	fprintf(out, "\n");
}

static void wrong(const char *what, uint32_t f, uint32_t off, const unsigned char *want, const unsigned char *found,
		  uint32_t len, const char *how)
{
	static unsigned char copy[SIZE_MAX_ + PAGE];
	uint32_t at = 0, bad = 0;
	FILE *out;

	/* What is compared is what is printed. */
	memcpy(copy, found, len);
	out = begin_report();
	while (at < len && want[at] == copy[at])
		at++;
	if (at == len) {
		fprintf(out, "  %s %x+%x by %s: was wrong for a moment\n", what, off, len, how);
		end_report(out);
	}
	for (uint32_t i = at; i < len; i++)
		bad += want[i] != copy[i];
	fprintf(out, "  %s offset %#x by %s: %u bytes of %x+%x are wrong\n", what, off + at, how, bad, off, len);
	if (f < FILES)
		fprintf(out, "  the size must be %#x\n", file[f].size);
	hex(out, "expected", want + at, len - at);
	hex(out, "found", copy + at, len - at);
	whose(out, copy + at, len - at);
	if (f < FILES)
		history(out, f, off + at);
	end_report(out);
}

void check(const struct file *f, uint32_t off, const void *found, uint32_t len, const char *how)
{
	if (memcmp(f->want + off, found, len))
		wrong(f->name, f - file, off, f->want + off, found, len, how);
}

void check_memory(const char *what, uint32_t off, const unsigned char *want, const unsigned char *found, uint32_t len)
{
	if (memcmp(want, found, len))
		wrong(what, FILES, off, want, found, len, "memory");
}
