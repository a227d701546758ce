//! Which part of the hosts this process works on: `--shard I/N`, or what Kubernetes and Slurm tell the pods and tasks of
//! an array. The environment counts only where it was asked for, with `--shard auto` or `--shard-count`: a variable that
//! happens to be set must not leave hosts out.

use super::failure::Failure;
use crate::inventory::{Shard, ShardError};
use std::str::FromStr;

/// What `--shard` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShardWish {
    Part(Shard),
    /// Slurm knows which of how many.
    Auto,
}

impl FromStr for ShardWish {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Part) }
    }
}

const KUBERNETES_INDEX: &str = "JOB_COMPLETION_INDEX";
const SLURM_ID: &str = "SLURM_ARRAY_TASK_ID";

/// The part that flags and, where they ask for it, the environment name; `None`: all hosts.
pub(super) fn chosen_shard(
    wish: Option<ShardWish>,
    count: Option<usize>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Shard>, Failure> {
    match (wish, count) {
        (None, None) => Ok(None),
        (Some(ShardWish::Part(shard)), None) => Ok(Some(shard)),
        (Some(ShardWish::Part(_)), Some(_)) => Err(refuse("--shard I/N and --shard-count are both given")
            .hint("--shard names part and number; --shard-count is for an array's own index")),
        (Some(ShardWish::Auto) | None, count) => of_array(count, variable).map(Some),
    }
}

fn of_array(count: Option<usize>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Shard, Failure> {
    match (variable(KUBERNETES_INDEX), variable(SLURM_ID)) {
        (Some(_), Some(_)) => {
            Err(refuse(&format!("both {KUBERNETES_INDEX} and {SLURM_ID} are set"))
                .hint("name the part with --shard I/N"))
        }
        (None, None) => Err(refuse(&format!("neither {KUBERNETES_INDEX} nor {SLURM_ID} is set"))
            .hint("outside an Indexed Job or a Slurm array name the part with --shard I/N")),
        (Some(_), None) => {
            let count = count.ok_or_else(|| {
                refuse("Kubernetes does not tell a pod how many there are")
                    .hint("add --shard-count N, with the Job's spec.completions")
            })?;
            shard(number(KUBERNETES_INDEX, variable)?, count)
        }
        (None, Some(_)) => of_slurm(count, variable),
    }
}

/// Task ids run from MIN to MAX by STEP. An array with holes, or of another size than was asked for, covers something
/// else than all hosts.
fn of_slurm(count: Option<usize>, variable: &dyn Fn(&str) -> Option<String>) -> Result<Shard, Failure> {
    let optional = |name, default| if variable(name).is_some() { number(name, variable) } else { Ok(default) };
    let id = number(SLURM_ID, variable)?;
    let tasks = number("SLURM_ARRAY_TASK_COUNT", variable)?;
    let first = number("SLURM_ARRAY_TASK_MIN", variable)?;
    let step = optional("SLURM_ARRAY_TASK_STEP", 1)?.max(1);
    let last = optional("SLURM_ARRAY_TASK_MAX", first + step * tasks.saturating_sub(1))?;
    let by_hand = "for one part of an array name it with --shard I/N";
    if first + step * tasks.saturating_sub(1) != last || id < first || (id - first) % step != 0 {
        return Err(refuse("the Slurm array has holes: its tasks are not all the parts").hint(by_hand));
    }
    match count {
        Some(count) if count != tasks => {
            Err(refuse(&format!("the Slurm array has {tasks} tasks, --shard-count says {count}")).hint(by_hand))
        }
        _ => shard((id - first) / step, tasks),
    }
}

fn number(name: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<usize, Failure> {
    let value = variable(name).ok_or_else(|| refuse(&format!("{name} is not set")))?;
    // Ids above this are no array's; the cap keeps sums from overflowing.
    let number = value.parse().ok().filter(|number: &usize| *number <= 1 << 30);
    number.ok_or_else(|| refuse(&format!("{name} is {value:?}, not a number")))
}

fn shard(index: usize, count: usize) -> Result<Shard, Failure> {
    Shard::new(index, count).map_err(|e| refuse(&e.to_string()))
}

fn refuse(what: &str) -> Failure {
    Failure::bad_input("shard_invalid", what).hint("name the part with --shard I/N")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(flags: (Option<&str>, Option<usize>), variables: &[(&str, &str)]) -> Result<Option<String>, String> {
        let wish = flags.0.map(|text| text.parse().unwrap());
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, v)| (*v).to_owned());
        chosen_shard(wish, flags.1, &variable).map(|shard| shard.map(|s| s.to_string())).map_err(|f| f.message)
    }

    const ARRAY: [(&str, &str); 5] = [
        ("SLURM_ARRAY_TASK_ID", "7"),
        ("SLURM_ARRAY_TASK_COUNT", "4"),
        ("SLURM_ARRAY_TASK_MIN", "1"),
        ("SLURM_ARRAY_TASK_MAX", "10"),
        ("SLURM_ARRAY_TASK_STEP", "3"),
    ];

    #[test]
    fn the_environment_counts_only_where_it_is_asked_for() {
        let both = [("JOB_COMPLETION_INDEX", "2"), ("SLURM_ARRAY_TASK_ID", "1")];
        assert_eq!(chosen((None, None), &both), Ok(None));
        assert_eq!(chosen((Some("3/4"), None), &both), Ok(Some("3/4".into())));
        assert!(chosen((None, Some(4)), &both).unwrap_err().contains("both"));
    }

    #[test]
    fn an_indexed_job_counts_from_zero_and_does_not_say_to_what() {
        let index = |i: &'static str| [("JOB_COMPLETION_INDEX", i)];
        assert_eq!(chosen((None, Some(4)), &index("0")), Ok(Some("1/4".into())));
        assert_eq!(chosen((Some("auto"), Some(4)), &index("3")), Ok(Some("4/4".into())));
        assert!(chosen((None, Some(4)), &index("4")).unwrap_err().contains("no part 5 of 4"));
        assert!(chosen((Some("auto"), None), &index("0")).unwrap_err().contains("how many"));
        assert!(chosen((None, Some(4)), &index("")).unwrap_err().contains("not a number"));
        assert!(chosen((None, Some(4)), &[]).unwrap_err().contains("neither"));
    }

    #[test]
    fn a_slurm_array_need_not_begin_at_zero_but_must_be_whole() {
        assert_eq!(chosen((Some("auto"), None), &ARRAY), Ok(Some("3/4".into())));
        assert_eq!(chosen((None, Some(4)), &ARRAY), Ok(Some("3/4".into())));
        assert!(chosen((None, Some(8)), &ARRAY).unwrap_err().contains("has 4 tasks"));
        let with = |name: &str, value: &'static str| {
            let mut array = ARRAY;
            array.iter_mut().find(|(known, _)| *known == name).unwrap().1 = value;
            chosen((Some("auto"), None), &array)
        };
        assert!(with("SLURM_ARRAY_TASK_MAX", "13").unwrap_err().contains("holes"), "1,4,7,13");
        assert!(with("SLURM_ARRAY_TASK_ID", "0").unwrap_err().contains("holes"));
        assert!(with("SLURM_ARRAY_TASK_ID", "8").unwrap_err().contains("holes"));
        assert!(with("SLURM_ARRAY_TASK_ID", "13").unwrap_err().contains("no part"));
        assert!(with("SLURM_ARRAY_TASK_COUNT", "0").is_err());
    }
}
