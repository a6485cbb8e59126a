// SPDX-License-Identifier: GPL-2.0
/*
 * A dynamically linked program for stress to execute from the file system under test.
 *
 * dynamic-hello NUMBER	prints "dynamic-hello MIXED SUM": the number after a walk through malloc, qsort and printf of
 *			the C library, and the sum over all program text, its own and that of its libraries
 * dynamic-hello --libs	prints the path of every object that the loader mapped, one to a line
 */
#include "stress/mix.h"
#include <stdio.h>
#include <stdlib.h>

static int print_name(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	if (strchr(info->dlpi_name, '/'))
		puts(info->dlpi_name);
	return 0;
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	uint64_t *v, number, mixed = 0;

	if (argc != 2) {
		fprintf(stderr, "usage: dynamic-hello NUMBER | --libs\n");
		return 2;
	}
	if (!strcmp(argv[1], "--libs"))
		return dl_iterate_phdr(print_name, NULL);

	number = strtoull(argv[1], NULL, 0);
	v = malloc(HELLO_NUMBERS * sizeof(*v));
	if (!v)
		return 1;
	for (int i = 0; i < HELLO_NUMBERS; i++)
		v[i] = mix(number + i * GOLDEN);
	qsort(v, HELLO_NUMBERS, sizeof(*v), ascending);
	for (int i = 1; i < HELLO_NUMBERS; i++)
		if (v[i - 1] > v[i])
			return 1;
	/* A sum does not depend on the order, so the caller need not sort. */
	for (int i = 0; i < HELLO_NUMBERS; i++)
		mixed += v[i];
	free(v);
	printf("dynamic-hello %016llx %016llx\n", (unsigned long long)mixed, (unsigned long long)text_sum());
	return 0;
}
