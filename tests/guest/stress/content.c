// SPDX-License-Identifier: GPL-2.0
/* What every byte must be, and the message when one is not. */
#include "stress.h"
#include <stdarg.h>

static uint64_t rnd_state;

void seed_rnd(uint64_t seed)
{
	rnd_state = mix(seed);
}

uint64_t rnd(void)
{
	return mix(rnd_state += GOLDEN);
}

uint32_t below(uint32_t n)
{
	return n ? rnd() % n : 0;
}

bool chance(int percent)
{
	return below(100) < (uint32_t)percent;
}

/* The self-test asks whether a defect would be seen. */
bool sabotage(const char *what)
{
	return !strcmp(sh->sabotage, what);
}

/* One write, so that messages of several processes do not mix; then nothing more than the exit status is needed. */
static void say_and_exit(const char *text)
{
	sh->failed = 1;
	if (write(1, text, strlen(text)) < 0)
		_exit(3);
	_exit(1);
}

void fail(const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int n;

	n = snprintf(text, sizeof(text), "FAIL seed=%llu op=%s pid=%d ", (unsigned long long)sh->seed, op_name(),
		     getpid());
	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof(text) - n - 1, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(text) - 2)
		n = sizeof(text) - 2;
	text[n] = '\n';
	text[n + 1] = 0;
	say_and_exit(text);
	__builtin_unreachable();
}

/* Cheap, for emulated processors; keys are random already. */
static inline uint64_t word_of(uint64_t key, unsigned int i)
{
	return (key + i * GOLDEN) * (key | 1);
}

static void fill_block(const struct file *f, uint64_t n, unsigned char *out)
{
	const struct blk *b = &f->blk[n];
	uint32_t len = n < f->nblk ? b->len : 0;

	for (uint32_t i = 0; i * 8 < len; i++) {
		uint64_t word = word_of(b->key, i);

		memcpy(out + i * 8, &word, 8);
	}
	memset(out + len, 0, BLK - len);
}

void fill(const struct file *f, uint64_t off, size_t len, void *buf)
{
	unsigned char block[BLK];

	for (size_t n, done = 0; done < len; done += n) {
		unsigned int in = (off + done) % BLK;

		n = BLK - in < len - done ? BLK - in : len - done;
		if (n == BLK) {
			fill_block(f, (off + done) / BLK, (unsigned char *)buf + done);
			continue;
		}
		fill_block(f, (off + done) / BLK, block);
		memcpy((char *)buf + done, block + in, n);
	}
}

/* Whose word is this? A wrong byte tells most by where it belongs. */
static const char *owner_of(uint64_t word, unsigned int i, char *out, size_t size)
{
	int total = sh->nfiles + RO_FILES + 1;

	if (!word)
		return "zeros";
	for (int k = 0; k < total; k++) {
		const struct file *f = !k ? &sh->stripes : k <= RO_FILES ? &sh->ro[k - 1] : &sh->file[k - 1 - RO_FILES];

		for (uint32_t n = 0; n < f->nblk; n++) {
			bool now = word_of(f->blk[n].key, i) == word;

			if (!now && word_of(f->blk[n].prev, i) != word)
				continue;
			snprintf(out, size, "%s content of file %s offset %#x", now ? "present" : "earlier", f->name,
				 n * BLK);
			return out;
		}
	}
	return "nothing known";
}

static int hex(char *out, size_t size, const char *title, const unsigned char *p, size_t len)
{
	int n = snprintf(out, size, "  %-8s", title);

	for (size_t i = 0; i < len && i < 32; i++)
		n += snprintf(out + n, size - n, " %02x", p[i]);
	return n + snprintf(out + n, size - n, "\n");
}

static void wrong(const char *file, uint64_t off, const unsigned char *want, const unsigned char *got, size_t len)
{
	char text[1024], owner[80];
	size_t at = 0, word;
	uint64_t w = ~0ull;
	int n;

	while (at < len && want[at] == got[at])
		at++;
	word = at - (off + at) % 8;
	if ((off + at) % 8 <= at && word + 8 <= len)
		memcpy(&w, got + word, 8);
	n = snprintf(text, sizeof(text), "FAIL seed=%llu op=%s pid=%d file=%s offset=%#llx expected %02x got %02x\n",
		     (unsigned long long)sh->seed, op_name(), getpid(), file, (unsigned long long)(off + at), want[at],
		     got[at]);
	n += hex(text + n, sizeof(text) - n, "expected", want + at, len - at);
	n += hex(text + n, sizeof(text) - n, "got", got + at, len - at);
	snprintf(text + n, sizeof(text) - n, "  what was got is %s\n",
		 owner_of(w, (off + word) % BLK / 8, owner, sizeof(owner)));
	say_and_exit(text);
}

/* Without calls, as most of the time is spent here. */
static bool whole_block_is_right(const struct blk *b, const void *p)
{
	uint64_t word, differences = 0;

	for (unsigned int i = 0; i < BLK / 8; i++) {
		memcpy(&word, (const char *)p + i * 8, 8);
		differences |= word ^ word_of(b->key, i);
	}
	return !differences;
}

void check(const struct file *f, uint64_t off, const void *p, size_t len)
{
	unsigned char want[BLK], got[BLK];

	for (size_t n, done = 0; done < len; done += n) {
		unsigned int in = (off + done) % BLK;
		uint64_t block = (off + done) / BLK;
		bool whole;

		n = BLK - in < len - done ? BLK - in : len - done;
		whole = n == BLK && block < f->nblk && f->blk[block].len == BLK;
		if (whole && whole_block_is_right(&f->blk[block], (const char *)p + done))
			continue;
		/* The memory is copied first: what is compared is what is printed. */
		memcpy(got, (const char *)p + done, n);
		fill_block(f, block, want);
		if (memcmp(want + in, got, n))
			wrong(f->name, off + done, want + in, got, n);
		if (whole)
			fail("file=%s offset=%#llx was wrong for a moment", f->name, (unsigned long long)(off + done));
	}
}

void check_memory(const char *what, const void *want, const void *got, size_t len)
{
	if (memcmp(want, got, len))
		wrong(what, 0, want, got, len);
}

static void new_block(struct file *f, uint64_t n, uint32_t len)
{
	struct blk *b = &f->blk[n];

	if (n >= f->nblk)
		fail("stress itself is wrong: block %llu of %s", (unsigned long long)n, f->name);
	b->prev = b->key;
	b->key = rnd();
	b->len = len;
}

/* Whole blocks; the file grows when they lie beyond its end. */
void new_content(struct file *f, uint64_t off, size_t len)
{
	for (uint64_t n = off / BLK; n < (off + len) / BLK; n++)
		new_block(f, n, BLK);
	if (f->size < off + len)
		f->size = off + len;
}

/* Append @len bytes. A started block goes on with its own content, or with zeros if it ended before the file did. */
void new_tail(struct file *f, size_t len)
{
	uint64_t end = f->size + len;
	unsigned int in = f->size % BLK;
	struct blk *b = &f->blk[f->size / BLK];

	if (in && b->len == in)
		b->len = end - f->size + in < BLK ? end - f->size + in : BLK;
	for (uint64_t n = (f->size + BLK - 1) / BLK; n * BLK < end; n++)
		new_block(f, n, end - n * BLK < BLK ? end - n * BLK : BLK);
	f->size = end;
}

void copy_content(struct file *d, uint64_t doff, const struct file *s, uint64_t soff, size_t len)
{
	for (size_t n = 0; n < len / BLK; n++) {
		struct blk *b = &d->blk[doff / BLK + n];

		b->prev = b->key;
		b->key = s->blk[soff / BLK + n].key;
		b->len = s->blk[soff / BLK + n].len;
	}
	if (d->size < doff + len)
		d->size = doff + len;
}

void zero_content(struct file *f, uint64_t off, size_t len)
{
	for (uint64_t n = off / BLK; n < (off + len) / BLK; n++)
		f->blk[n].len = 0;
}

void set_size(struct file *f, uint64_t size)
{
	for (uint64_t n = size / BLK; n < f->nblk; n++) {
		uint64_t room = n * BLK < size ? size - n * BLK : 0;

		if (f->blk[n].len > room)
			f->blk[n].len = room;
	}
	f->size = size;
}
