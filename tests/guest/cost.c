// SPDX-License-Identifier: GPL-2.0
/*
 * cost - hot paths of the kernel as loops, for tests/plugin/count.c to count
 *
 * usage: cost list				the loads, a line each, and what they count
 *        cost prepare DIR LOAD...		make the files that they use
 *        cost cache DIR LOAD...		read these files
 *        cost run DIR LOAD ITERATIONS PASSES
 *
 * Runs a load ITERATIONS times in each of PASSES passes, with marks for the plugin: 1 and 2 are
 * before and after what is to be counted, 3 ends the pass.  Prints a line "pass N" for each,
 * N being how many units of the load that were.  The first is to get warm.
 *
 * A load is an entry of a table in cost/; it can have a file of its own, DIR/cost-LOAD.
 */
#include "cost/cost.h"

const char *dir;
int fd = -1;
size_t length;
char buffer[MIB] __attribute__((aligned(PAGE)));

static const struct load *const tables[] = {
	read_loads, map_loads, process_loads, pipe_loads, write_loads, memory_loads,
};

#define for_each_load(load)								\
	for (const struct load *const *table_ = tables;					\
	     table_ < tables + sizeof(tables) / sizeof(*tables); table_++)		\
		for (const struct load *load = *table_; load->name; load++)

static const struct load *find(const char *name)
{
	for_each_load(load)
		if (!strcmp(load->name, name))
			return load;
	fail("no load '%s'", name);
	return NULL;
}

static const char *path(const struct load *load)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/cost-%s", dir, load->name);
	return path;
}

static void make_file(const struct load *load)
{
	fd = must(open(path(load), O_RDWR | O_CREAT | O_TRUNC, 0600));
	for (size_t page = 0; page < load->pages; page++) {
		memset(buffer, page, PAGE);
		must(write(fd, buffer, PAGE));
	}
	must(fsync(fd));
	close(fd);
}

static void read_file(const struct load *load)
{
	fd = must(open(path(load), O_RDONLY));
	while (must(read(fd, buffer, sizeof(buffer))))
		;
	close(fd);
}

static unsigned long pass(const struct load *load, unsigned long iterations)
{
	unsigned long units = 0;

	while (iterations--)
		units += load->once();
	return units;
}

static void run(const struct load *load, unsigned long iterations, unsigned long passes)
{
	unsigned long units[passes];

	length = load->pages * PAGE;
	if (length)
		fd = must(open(path(load), O_RDWR));
	if (load->setup)
		load->setup();
	for (unsigned long n = 0; n < passes; n++) {
		BEGIN();
		units[n] = pass(load, iterations);
		END();
		END_PASS();
	}
	for (unsigned long n = 0; n < passes; n++)
		printf("pass %lu\n", units[n]);
}

int main(int argc, char **argv)
{
	const char *command = argc > 1 ? argv[1] : "";

	memset(buffer, 1, sizeof(buffer));
	dir = argv[2];
	if (!strcmp(command, "list") && argc == 2) {
		for_each_load(load)
			printf("%s %s\n", load->name, load->unit);
	} else if (!strcmp(command, "run") && argc == 6) {
		run(find(argv[3]), strtoul(argv[4], NULL, 0), strtoul(argv[5], NULL, 0));
	} else if (!strcmp(command, "prepare") || !strcmp(command, "cache")) {
		for (int i = 3; i < argc; i++) {
			const struct load *load = find(argv[i]);

			if (load->pages)
				(*command == 'p' ? make_file : read_file)(load);
		}
	} else {
		fail("usage: cost list | (prepare|cache) DIR LOAD... | run DIR LOAD ITERATIONS PASSES");
	}
	return 0;
}
