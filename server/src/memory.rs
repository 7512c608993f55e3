//! How much memory the process has and may have.

use std::fs::read_to_string;
use std::path::Path;

/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";

/// Bytes of the process that are in RAM.
pub(crate) fn resident_bytes() -> Option<u64> {
    kilobytes(&read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes that it may have: those of its control group, or of one around it, and at most the
/// machine's.
pub(crate) fn limit_bytes() -> Option<u64> {
    let machine = kilobytes(&read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(group_limit(Path::new(GROUPS), &groups).map_or(machine, |limit| limit.min(machine)))
}

/// A line of kilobytes, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest limit from a process' group up to the root. `groups` is what `/proc/self/cgroup`
/// says: `0::/a/b` for the second version of groups, `4:memory:/a/b` for the first.
fn group_limit(root: &Path, groups: &str) -> Option<u64> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (root, file) = match parts.next()? {
            "" => (root.to_owned(), "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                (root.join("memory"), "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = root.join(parts.next()?.trim_start_matches('/'));
        let up = own.ancestors().take_while(|folder| folder.starts_with(&root));
        up.filter_map(|folder| read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok())
            .min()
    };
    groups.lines().filter_map(of_line).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    #[test]
    fn the_process_has_some_and_may_have_more() {
        let (has, may) = (resident_bytes().unwrap(), limit_bytes().unwrap());
        assert!(0 < has && has <= may, "{has} of {may}");
    }

    #[test]
    fn the_lowest_limit_of_the_groups_around_holds() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "a/memory.max", "3000\n");
        write(root.path(), "a/b/memory.max", "max\n");
        assert_eq!(group_limit(root.path(), "0::/a/b\n"), Some(3000));
        assert_eq!(group_limit(root.path(), "0::/c\n"), None);
        assert_eq!(group_limit(root.path(), "0::/\n"), None);
        write(root.path(), "memory/d/memory.limit_in_bytes", "2000\n");
        assert_eq!(group_limit(root.path(), "5:cpu,memory:/d\n4:pids:/d\n"), Some(2000));
        assert_eq!(group_limit(root.path(), "no group\n:::\n0::/../..\n"), None);
    }
}
