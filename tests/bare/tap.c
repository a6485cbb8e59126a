// SPDX-License-Identifier: GPL-2.0
/* TAP on the SCLP ASCII console, or in the log of Hercules. */

#include <stdarg.h>
#include "bare.h"

static struct {
	u16 length;
	u8 function, control[3];
	u16 response;
	u16 event_length;
	u8 event_type, event_flags;
	u16 reserved;
	char text[PAGE - 14];
} __attribute__((packed, aligned(PAGE))) sccb;

static int text_len;

#define SCLP_DONE	0x20

/*
 * Hercules has no ASCII console.  But it takes commands of its operator by
 * DIAGNOSE 8, in EBCDIC, and one that begins with a star is only logged.
 */
static void log_line(void)
{
	static const char letters[] = "abcdefghi\0\0\0\0\0\0\0jklmnopqr\0\0\0\0\0\0\0\0stuvwxyz";
	static const u8 others[] = "-\x60_\x6d:\x7a,\x6b.\x4b#\x7b";
	u8 line[128] = { 0x5c, 0x40 };
	u64 len = 2;

	for (int i = 0; i < text_len && len < sizeof(line); i++) {
		u8 c = sccb.text[i], e = 0x40;

		if (c < ' ')
			continue;
		for (u64 j = 0; j < sizeof(letters) - 1; j++) {
			if (letters[j] == c)
				e = 0x81 + j;
			if (letters[j] && letters[j] == (c | 0x20) && c < 'a')
				e = 0xc1 + j;
		}
		if (c >= '0' && c <= '9')
			e = 0xf0 + c - '0';
		for (u64 j = 0; j < sizeof(others) - 1; j += 2)
			if (others[j] == c)
				e = others[j + 1];
		line[len++] = e;
	}
	asm volatile("diag %0,%1,8" : : "d" ((u64)line), "d" (len) : "cc", "memory");
}

static void flush(void)
{
	u64 write_event_data = 0x00760005, at = (u64)&sccb;

	sccb.length = 14 + text_len;
	sccb.function = 0;
	sccb.response = 0;
	sccb.event_length = 6 + text_len;
	sccb.event_type = 0x1a;		/* ASCII console */
	sccb.event_flags = 0;
	asm volatile(".insn rre,0xb2200000,%0,%1"
		     : : "d" (write_event_data), "d" (at) : "cc", "memory");
	if ((sccb.response & 0xff) != SCLP_DONE)
		log_line();
	text_len = 0;
}

static void put_char(char c)
{
	if (c == '\n')
		sccb.text[text_len++] = '\r';
	sccb.text[text_len++] = c;
	if (c == '\n' || text_len > 1000)
		flush();
}

static void put_number(u64 n, unsigned int base)
{
	if (n >= base)
		put_number(n / base, base);
	put_char("0123456789abcdef"[n % base]);
}

/* %s, %lu and %lx */
void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	for (; *format; format++) {
		if (*format != '%') {
			put_char(*format);
		} else if (*++format == 's') {
			for (const char *s = va_arg(args, const char *); *s; s++)
				put_char(*s);
		} else {
			put_number(va_arg(args, u64), *++format == 'x' ? 16 : 10);
		}
	}
	va_end(args);
}

static const char *prefix, *name;
static bool bad;
static int complaints;		/* the first few say enough */
static u64 tests, failures;

void test_begin(const char *p, const char *n)
{
	prefix = p;
	name = n;
	bad = 0;
	complaints = 0;
}

void test_end(void)
{
	tests++;
	failures += bad;
	say("%sok %lu - %s%s\n", bad ? "not " : "", tests, prefix, name);
}

int test_totals(void)
{
	say("1..%lu\n# Totals: pass:%lu fail:%lu\n", tests, tests - failures, failures);
	return failures != 0;
}

bool failed(void)
{
	return bad;
}

void equal(const char *what, u64 got, u64 want)
{
	if (got == want)
		return;
	bad = 1;
	if (complaints++ < 10)
		say("# %s%s: %s: 0x%lx, not 0x%lx\n", prefix, name, what, got, want);
}

void allowed(const char *what, u64 state, u32 set)
{
	if (state < 16 && (set & ANY(state)))
		return;
	bad = 1;
	if (complaints++ < 10)
		say("# %s%s: %s: state 0x%lx, not one of the set 0x%lx\n",
		    prefix, name, what, state, (u64)set);
}
