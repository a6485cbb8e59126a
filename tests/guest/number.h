/* SPDX-License-Identifier: GPL-2.0 */
/* What is no number is told by refuse() of stress or fuzz, which is declared before. */
#ifndef NUMBER_H
#define NUMBER_H

#include <stdlib.h>

static inline unsigned long long number(const char *text, unsigned long long max)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 0);

	if (end == text || *end || n > max)
		refuse("\"%s\" is not a number up to %llu", text, max);
	return n;
}

/* How many times longer than usual something may take: the harness knows a busy machine. */
static inline unsigned int patience(void)
{
	const char *text = getenv("PATIENCE");

	return text ? number(text, 1000) : 1;
}

#endif
