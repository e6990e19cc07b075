//! The flags of limits, made from the table of limits.

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};
use protocol::Limits;
use protocol::job::{Asked, SubmitJob};
use protocol::limits::{Amount, Limit, Unit};

/// What was asked for with flags.
#[derive(Debug, Clone, Default)]
struct Given(Vec<(Limit, Amount)>);

impl Given {
    fn of(limits: impl IntoIterator<Item = Limit>, matches: &ArgMatches) -> Self {
        let given = |limit: Limit| Some((limit, *matches.get_one::<Amount>(limit.name)?));
        Self(limits.into_iter().filter_map(given).collect())
    }
}

fn flags(command: Command, limits: impl IntoIterator<Item = Limit>, otherwise: impl Fn(Limit) -> String) -> Command {
    let flag = |limit: Limit| {
        let value = match limit.unit {
            Unit::Bytes => "SIZE",
            Unit::Time => "DURATION",
            Unit::Count => "COUNT",
        };
        let help = format!("{} [{}]", limit.help(), otherwise(limit));
        Arg::new(limit.name)
            .long(limit.flag)
            .value_name(value)
            .help(help)
            .value_parser(move |text: &str| limit.read(text))
    };
    command.args(limits.into_iter().map(flag))
}

/// Limits of a version.
#[derive(Debug, Clone, Default)]
pub(crate) struct VersionLimits(Given);

impl VersionLimits {
    /// Sets those that were given.
    pub(crate) fn set(&self, limits: &mut Limits) {
        for (limit, amount) in &self.0.0 {
            limit.set(limits, *amount);
        }
    }
}

/// Limits of a job.
#[derive(Debug, Clone, Default)]
pub(crate) struct JobLimits(Given);

impl JobLimits {
    /// Asks for those that were given.
    pub(crate) fn ask(&self, job: &mut SubmitJob) {
        for (limit, amount) in &self.0.0 {
            job.ask(*limit, Asked::Value(*amount));
        }
    }
}

macro_rules! args {
    ($($name:ident: $limits:expr, $otherwise:expr;)*) => {$(
        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                flags(command, $limits, $otherwise)
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment_args(command)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
                Ok(Self(Given::of($limits, matches)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
                *self = Self::from_arg_matches(matches)?;
                Ok(())
            }
        }
    )*};
}

args! {
    VersionLimits: Limits::ALL, |limit| format!("default: {}", limit.of(&Limits::default()));
    JobLimits: Limits::of_jobs(), |_| "default: the function's".to_owned();
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command as Verb, Jobs};

    fn parsed(line: &str) -> Verb {
        Cli::try_parse_from(line.split(' ')).unwrap().command
    }

    #[test]
    fn every_limit_is_a_flag_of_deploy() {
        for limit in Limits::ALL {
            let line = format!("crowdcloud deploy a.wasm --{} 123456", limit.flag);
            let line = if limit.unit == Unit::Time { format!("{line}ms") } else { line };
            let Verb::Deploy(args) = parsed(&line) else { panic!("not a deploy") };
            let mut limits = Limits::default();
            args.limits.set(&mut limits);
            let amount = limit.read(line.rsplit(' ').next().unwrap()).unwrap();
            assert_eq!(limit.of(&limits), amount, "{line}");
            limit.set(&mut limits, limit.of(&Limits::default()));
            assert_eq!(limits, Limits::default(), "{line} sets nothing else");
        }
    }

    #[test]
    fn a_job_asks_for_what_was_given_and_for_nothing_else() {
        let Verb::Jobs { verb: Some(Jobs::Submit(asked)) } =
            parsed("crowdcloud jobs submit f --cpus 2 --memory 1500MiB")
        else {
            panic!("not a submit")
        };
        let mut job = SubmitJob::of("f");
        asked.limits.ask(&mut job);
        let wanted = SubmitJob {
            cpus: Some(2.into()),
            memory: Some(protocol::ByteSize::mib(1500).into()),
            ..SubmitJob::of("f")
        };
        assert_eq!(job, wanted);
        assert!(Cli::try_parse_from(["crowdcloud", "jobs", "submit", "f", "--concurrency", "2"]).is_err());
        let refused = Cli::try_parse_from(["crowdcloud", "deploy", "a.wasm", "--cpus", "two"]).unwrap_err();
        assert!(refused.to_string().contains("\"two\" is not a whole number such as 2"), "{refused}");
    }
}
