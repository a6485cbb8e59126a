// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * count - a TCG plugin that counts the instructions which page states cost
 *
 * qemu-system-s390x -plugin libcount.so,out=FILE[,ask=SOCKET]
 *
 * Appends a line to FILE whenever the guest executes a mark, a branch on no condition with
 * the target 0x484N: N, and how often each kind of instruction was executed so far.  Whoever
 * connects to SOCKET gets such a line, with 0 as its mark, for each byte sent: so the host
 * can count what the guest does while it has nothing to say.
 */
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

enum { ALL, ESSA, ISKE = ESSA + 16, SSKE, RRBE, RRBM, IRBM, PFMF, KINDS };

static const struct {
	uint16_t opcode;
	int kind;
} opcodes[] = {
	{ 0xb9ab, ESSA }, { 0xb229, ISKE }, { 0xb22b, SSKE }, { 0xb22a, RRBE },
	{ 0xb9ae, RRBM }, { 0xb9ac, IRBM }, { 0xb9af, PFMF },
};

static const char *const names[] = { "iske", "sske", "rrbe", "rrbm", "irbm", "pfmf" };

static struct qemu_plugin_scoreboard *board;
static FILE *out;

static qemu_plugin_u64 counter(int kind)
{
	return (qemu_plugin_u64){ board, kind * sizeof(uint64_t) };
}

static void print_counts(FILE *to, int mark)
{
	fprintf(to, "mark %d all %" PRIu64, mark, qemu_plugin_u64_sum(counter(ALL)));
	for (int i = 0; i < 16; i++)
		fprintf(to, " essa%d %" PRIu64, i, qemu_plugin_u64_sum(counter(ESSA + i)));
	for (int kind = ISKE; kind < KINDS; kind++)
		fprintf(to, " %s %" PRIu64, names[kind - ISKE],
			qemu_plugin_u64_sum(counter(kind)));
	fprintf(to, "\n");
	fflush(to);
}

static void on_mark(unsigned int vcpu, void *mark)
{
	print_counts(out, GPOINTER_TO_INT(mark));
}

static gpointer serve(gpointer listening)
{
	int fd;

	while ((fd = accept(GPOINTER_TO_INT(listening), NULL, NULL)) >= 0) {
		FILE *to = fdopen(fd, "w");
		char byte;

		while (read(fd, &byte, 1) == 1)
			print_counts(to, 0);
		fclose(to);
	}
	return NULL;
}

static int listen_at(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "count: the path of the socket is too long: %s\n", path);
		return -1;
	}
	strcpy(address.sun_path, path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 1)) {
		perror(path);
		return -1;
	}
	g_thread_new("count", serve, GINT_TO_POINTER(fd));
	return 0;
}

static void add_one(struct qemu_plugin_insn *insn, int kind)
{
	qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(
		insn, QEMU_PLUGIN_INLINE_ADD_U64, counter(kind), 1);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	for (size_t n = 0; n < qemu_plugin_tb_n_insns(tb); n++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, n);
		uint8_t code[6] = { 0 };
		int opcode;

		qemu_plugin_insn_data(insn, code, sizeof(code));
		opcode = code[0] << 8 | code[1];
		add_one(insn, ALL);
		for (size_t i = 0; i < G_N_ELEMENTS(opcodes); i++)
			if (opcodes[i].opcode == opcode)
				add_one(insn, opcodes[i].kind +
					(opcodes[i].kind == ESSA ? code[2] >> 4 : 0));
		if (opcode == 0xa704 && code[2] == 0x48 && code[3] >> 4 == 4)
			qemu_plugin_register_vcpu_insn_exec_cb(
				insn, on_mark, QEMU_PLUGIN_CB_NO_REGS,
				GINT_TO_POINTER(code[3] & 15));
	}
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info,
					   int argc, char **argv)
{
	if (argc < 1 || argc > 2 || strncmp(argv[0], "out=", 4) ||
	    (argc == 2 && strncmp(argv[1], "ask=", 4))) {
		fprintf(stderr, "count: the arguments are out=FILE and ask=SOCKET\n");
		return -1;
	}
	out = fopen(argv[0] + 4, "a");
	if (!out) {
		perror(argv[0] + 4);
		return -1;
	}
	board = qemu_plugin_scoreboard_new(KINDS * sizeof(uint64_t));
	if (argc == 2 && listen_at(argv[1] + 4))
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
