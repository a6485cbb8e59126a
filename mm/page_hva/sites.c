// SPDX-License-Identifier: GPL-2.0
/*
 * Page host virtual assist: hooks that can be switched off, for tests
 *
 * page_hva/skip: all hooks as VERB@FUNCTION, and whether each is on or off.
 *		  Writing a list of patterns, or page_hva_skip= at boot, switches off
 *		  what they match; VERB alone stands for all of its hooks.
 * page_hva/lru_cache_disable: 1 disables the LRU batches of all CPUs, 0 enables
 *		  them again
 */
#define pr_fmt(fmt) "page_hva: " fmt

#include <linux/debugfs.h>
#include <linux/glob.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/seq_file.h>
#include <linux/swap.h>
#include <linux/uaccess.h>
#include "../internal.h"
#include "state.h"

extern struct page_hva_site __start___page_hva_sites[];
extern struct page_hva_site __stop___page_hva_sites[];

#define for_each_site(site)						\
	for ((site) = __start___page_hva_sites;				\
	     (site) < __stop___page_hva_sites; (site)++)

static int skip_show(struct seq_file *m, void *v)
{
	struct page_hva_site *site;

	for_each_site(site)
		seq_printf(m, "%s@%s %s\n", site->verb, site->function,
			   READ_ONCE(site->off) ? "off" : "on");
	return 0;
}

static int skip_open(struct inode *inode, struct file *file)
{
	return single_open(file, skip_show, NULL);
}

/* Switch off the hooks that a comma separated list names. */
static int skip_parse(char *list)
{
	struct page_hva_site *site;
	char name[80], *word;

	while ((word = strsep(&list, ",\n ")) != NULL) {
		bool found = false;

		if (!*word)
			continue;
		for_each_site(site) {
			snprintf(name, sizeof(name), "%s@%s", site->verb,
				 site->function);
			if (strcmp(word, site->verb) && !glob_match(word, name))
				continue;
			WRITE_ONCE(site->off, true);
			found = true;
		}
		if (!found)
			return -EINVAL;
		pr_warn("hook %s is switched off: data will be lost\n", word);
	}
	return 0;
}

static ssize_t skip_write(struct file *file, const char __user *buf,
			  size_t count, loff_t *ppos)
{
	char list[256];
	int rc;

	if (count >= sizeof(list))
		return -EINVAL;
	if (copy_from_user(list, buf, count))
		return -EFAULT;
	list[count] = 0;
	rc = skip_parse(list);
	return rc ? rc : count;
}

static const struct file_operations skip_fops = {
	.owner		= THIS_MODULE,
	.open		= skip_open,
	.read		= seq_read,
	.write		= skip_write,
	.llseek		= seq_lseek,
	.release	= single_release,
};

static int __init skip_setup(char *list)
{
	if (skip_parse(list))
		pr_err("page_hva_skip= names a hook that does not exist\n");
	return 1;
}
__setup("page_hva_skip=", skip_setup);

/*
 * A batch of folios on their way to the LRU has a reference to each, and a
 * folio with a foreign reference does not turn volatile.  That helps a page
 * fault to make progress by luck; without the batches, only the rules do.
 * Memory offlining and contiguous allocation disable them as well, for a while.
 */
static bool lru_disabled;
static DEFINE_MUTEX(lru_disabled_mutex);

static int lru_disabled_get(void *data, u64 *val)
{
	*val = READ_ONCE(lru_disabled);
	return 0;
}

static int lru_disabled_set(void *data, u64 val)
{
	if (val > 1)
		return -EINVAL;
	mutex_lock(&lru_disabled_mutex);
	if (val && !lru_disabled)
		lru_cache_disable();
	else if (!val && lru_disabled)
		lru_cache_enable();
	WRITE_ONCE(lru_disabled, val);
	mutex_unlock(&lru_disabled_mutex);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(lru_disabled_fops, lru_disabled_get, lru_disabled_set,
			 "%llu\n");

/**
 * page_hva_sites_init - show the hooks in debugfs
 * @dir: the directory of page host virtual assist
 */
void __init page_hva_sites_init(struct dentry *dir)
{
	debugfs_create_file("skip", 0600, dir, NULL, &skip_fops);
	debugfs_create_file_unsafe("lru_cache_disable", 0600, dir, NULL,
				   &lru_disabled_fops);
}
