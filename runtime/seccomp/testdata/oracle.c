/*
 * Writes the program that libseccomp makes of a profile to standard output, for the test that compares ours with it.
 *
 * Standard input has one thing a line:
 *   machine amd64|arm64            first
 *   default ACTION
 *   arch NAME                      as libseccomp spells it
 *   optimize
 *   rule ACTION NAME [INDEX OP A B]...
 * Actions are numbers. Names that libseccomp does not know go to standard error.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what, const char *of, int rc) {
	fprintf(stderr, "! %s %s: %s\n", what, of, strerror(-rc));
	exit(1);
}

static void add_rule(scmp_filter_ctx ctx, char *rest) {
	struct scmp_arg_cmp args[6];
	unsigned n = 0;
	unsigned long action = strtoul(strtok(rest, " \n"), NULL, 0);
	char *name = strtok(NULL, " \n"), *word;
	int nr = seccomp_syscall_resolve_name(name), rc;

	if (nr == __NR_SCMP_ERROR) {
		fprintf(stderr, "%s\n", name);
		return;
	}
	while ((word = strtok(NULL, " \n")) != NULL && n < 6) {
		args[n].arg = strtoul(word, NULL, 0);
		args[n].op = strtoul(strtok(NULL, " \n"), NULL, 0);
		args[n].datum_a = strtoull(strtok(NULL, " \n"), NULL, 0);
		args[n].datum_b = strtoull(strtok(NULL, " \n"), NULL, 0);
		n++;
	}
	rc = seccomp_rule_add_array(ctx, action, nr, n, args);
	if (rc != 0)
		fail("add a rule for", name, rc);
}

int main(void) {
	char line[4096];
	scmp_filter_ctx ctx = NULL;
	int arm = 0, rc;

	while (fgets(line, sizeof(line), stdin) != NULL) {
		char *rest = strchr(line, ' ');
		if (rest != NULL)
			*rest++ = 0;
		if (strcmp(line, "machine") == 0) {
			arm = strncmp(rest, "arm64", 5) == 0;
		} else if (strcmp(line, "default") == 0) {
			ctx = seccomp_init(strtoul(rest, NULL, 0));
			if (ctx == NULL)
				fail("begin with", rest, -EINVAL);
			if (arm && ((rc = seccomp_arch_add(ctx, SCMP_ARCH_AARCH64)) != 0 || (rc = seccomp_arch_remove(ctx, SCMP_ARCH_NATIVE)) != 0))
				fail("change to", "arm64", rc);
		} else if (strcmp(line, "arch") == 0) {
			rest[strcspn(rest, "\n")] = 0;
			rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(rest));
			if (rc != 0 && rc != -EEXIST)
				fail("add", rest, rc);
		} else if (strncmp(line, "optimize", 8) == 0) {
			rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
			if (rc != 0)
				fail("optimize", "", rc);
		} else if (strcmp(line, "rule") == 0) {
			add_rule(ctx, rest);
		}
	}
	rc = seccomp_export_bpf(ctx, 1);
	if (rc != 0)
		fail("export", "", rc);
	return 0;
}
