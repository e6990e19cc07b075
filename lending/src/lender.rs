//! All of it together: what happens goes in, what is lent now comes out.

use std::time::Duration;

use chrono_tz::Tz;
use protocol::node::{Above, CapUse, Caps, Lending, PauseSource, Paused, RevisedWish};
use protocol::{ByteSize, Timestamp};

use crate::caps::Wish;
use crate::document::Document;
use crate::hours::QuietHours;
use crate::meter::{Ended, Meter, Today};
use crate::owner::{OwnerWatch, Sample};
use crate::pause::{OwnerPause, Pauses, Reason};

/// What was agreed beside caps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// When nothing is lent.
    pub quiet_hours: Option<QuietHours>,
    /// Pause while the owner uses the machine.
    pub when_owner_active: bool,
    /// Pause while it runs on its battery.
    pub on_battery: bool,
}

/// What was seen of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its load and memory; none where it does not say, or was not asked.
    pub sample: Option<Sample>,
    /// It runs on its battery.
    pub on_battery: bool,
}

/// What is lent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// Why no run is taken; none where runs are.
    pub paused: Option<Paused>,
    /// Why runs that have begun are given back; none where they may go on.
    pub give_back: Option<Paused>,
    /// What is lent at most.
    pub caps: Caps,
}

/// See the module.
#[derive(Debug)]
pub struct Lender {
    agreed: Caps,
    policy: Policy,
    document: Document,
    meter: Meter,
    watch: OwnerWatch,
    pauses: Pauses,
}

impl Lender {
    /// By what was agreed when the node was started, and what its owner has said since.
    #[must_use]
    pub fn new(agreed: Caps, policy: Policy, document: Document, meter: Meter) -> Self {
        let pauses = Pauses {
            by_owner: document.paused,
            from_portal: document.remote_pause(),
            draining: document.draining,
            ..Pauses::default()
        };
        Self { agreed, policy, document, meter, watch: OwnerWatch::default(), pauses }
    }

    /// The owner pauses it, on the machine.
    pub fn pause(&mut self, by: PauseSource, until: Option<Timestamp>) {
        self.pauses.by_owner = Some(OwnerPause { by, until });
        self.changed();
    }

    /// The owner lends it again, on the machine: that ends a pause from afar, too.
    pub fn resume(&mut self) {
        (self.pauses.by_owner, self.pauses.draining) = (None, false);
        if let Some(pause) = self.document.remote.wish.pause {
            self.document.ended_here = pause.since;
        }
        self.changed();
    }

    /// Nothing new is taken until the owner resumes.
    pub fn drain(&mut self) {
        self.pauses.draining = true;
        self.changed();
    }

    /// Nothing new is taken, for good.
    pub fn leave(&mut self) {
        self.pauses.leaving = true;
    }

    /// The owner wants less, on the machine; where they said something before, it counts no more.
    ///
    /// # Errors
    /// What was agreed is no more than that.
    pub fn wish(&mut self, wish: Wish) -> Result<(), Above> {
        self.agreed.allow(&wish.caps)?;
        self.document.own = std::mem::take(&mut self.document.own).then(wish);
        self.changed();
        Ok(())
    }

    /// The revision of what the owner wants from afar, as far as it is known here.
    #[must_use]
    pub fn remote_revision(&self) -> u64 {
        self.document.remote.revision
    }

    /// The platform tells what the owner wants from afar. Whether it counts: an earlier one that comes late does not.
    pub fn told(&mut self, wish: RevisedWish) -> bool {
        let later = wish.revision > self.remote_revision();
        if later {
            self.heed(wish);
        }
        later
    }

    /// The same in the answer to a hello that was sent when the revision here was `known`. What has come meanwhile is later;
    /// without that the platform is right, also where its revisions count from an earlier one, after a backup was restored.
    pub fn told_with_hello(&mut self, known: u64, wish: RevisedWish) -> bool {
        let counts = self.remote_revision() == known && wish.revision != known;
        if counts {
            self.heed(wish);
        }
        counts
    }

    fn heed(&mut self, wish: RevisedWish) {
        self.document.remote = wish;
        self.changed();
    }

    fn changed(&mut self) {
        self.pauses.from_portal = self.document.remote_pause();
        self.document.v = Document::VERSION;
        self.document.revision = self.document.revision.saturating_add(1);
        (self.document.paused, self.document.draining) = (self.pauses.by_owner, self.pauses.draining);
    }

    /// A run has ended.
    pub fn ended(&mut self, now: Timestamp, run: Ended) {
        self.meter.ended(self.zone(), now, run);
    }

    /// Looks at clock and machine, and says what is lent from now on. `steady` is a clock that only counts up.
    pub fn decide(&mut self, now: Timestamp, steady: Duration, seen: Seen) -> Decision {
        let caps = self.caps();
        let (traffic, month_ends) = self.meter.month(self.zone(), now);
        let used_up = caps.traffic.is_some_and(|cap| traffic >= cap);
        self.pauses.traffic_used = month_ends.filter(|_| used_up);
        self.pauses.quiet_hours = self.hours().filter_map(|hours| hours.quiet_until(now)).max();
        self.pauses.on_battery = self.policy.on_battery && seen.on_battery;
        self.pauses.owner_active = match seen.sample {
            Some(sample) if self.policy.when_owner_active => {
                self.watch.sample(steady, sample).map(|left| now.plus(left))
            }
            None if self.policy.when_owner_active => self.pauses.owner_active,
            _ => None,
        };
        if self.pauses.by_owner.is_some_and(|pause| pause.until.is_some_and(|until| until <= now)) {
            self.pauses.by_owner = None;
            self.changed();
        }
        let reasons = self.pauses.reasons(now);
        let hard = reasons.iter().find(|reason| !reason.paused.reason.lets_runs_end());
        Decision {
            paused: reasons.first().map(|reason| reason.paused),
            give_back: hard.map(|reason| reason.paused),
            caps,
        }
    }

    /// Why it is not lent now.
    #[must_use]
    pub fn reasons(&self, now: Timestamp) -> Vec<Reason> {
        self.pauses.reasons(now)
    }

    /// The caps in force.
    #[must_use]
    pub fn caps(&self) -> Caps {
        self.agreed.lowered_by(&self.document.own.caps).lowered_by(&self.document.remote.wish.caps)
    }

    /// All quiet hours that hold.
    pub fn hours(&self) -> impl Iterator<Item = &QuietHours> {
        self.policy.quiet_hours.iter().chain(&self.document.own.quiet_hours).filter(|hours| !hours.is_none())
    }

    /// Whether samples of the machine are of any use.
    #[must_use]
    pub fn watches_owner(&self) -> bool {
        self.policy.when_owner_active
    }

    /// Whether it pauses while the machine runs on its battery.
    #[must_use]
    pub fn pauses_on_battery(&self) -> bool {
        self.policy.on_battery
    }

    /// As it stands in reports.
    pub fn report(&mut self, now: Timestamp, paused: Option<Paused>, disk_used: ByteSize) -> Lending {
        let caps = self.caps();
        let (used, _) = self.meter.month(self.zone(), now);
        Lending {
            paused,
            egress: caps.egress,
            disk: Some(CapUse { max: Some(caps.disk), used: disk_used }),
            traffic: Some(CapUse { max: caps.traffic, used }),
        }
    }

    /// What it did today.
    pub fn today(&mut self, now: Timestamp) -> Today {
        self.meter.today(self.zone(), now).clone()
    }

    /// What is to be kept.
    #[must_use]
    pub fn kept(&self) -> (&Document, &Meter) {
        (&self.document, &self.meter)
    }

    fn zone(&self) -> Tz {
        self.hours().next().map_or(Tz::UTC, QuietHours::zone)
    }
}

#[cfg(test)]
mod tests {
    use protocol::node::{CapsWish, NodeWish, PauseReason, WishedPause};

    use super::*;

    const CAPS: Caps = Caps {
        cores: 2,
        memory: ByteSize::mib(100),
        disk: ByteSize::mib(100),
        traffic: Some(ByteSize(1000)),
        egress: true,
    };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn lender(policy: Policy) -> Lender {
        Lender::new(CAPS, policy, Document::default(), Meter::default())
    }

    fn reason(lender: &mut Lender, now: Timestamp) -> Option<PauseReason> {
        lender.decide(now, Duration::ZERO, Seen::default()).paused.map(|paused| paused.reason)
    }

    #[test]
    fn a_pause_for_a_time_ends_by_itself_and_is_kept_until_then() {
        let (now, later) = (at("2027-01-01T00:00:00Z"), at("2027-01-01T02:00:00Z"));
        let mut first = lender(Policy::default());
        assert_eq!(reason(&mut first, now), None);
        first.pause(PauseSource::Cli, Some(later));
        let (document, meter) = first.kept();
        let mut restarted = Lender::new(CAPS, Policy::default(), document.clone(), meter.clone());
        let decided = restarted.decide(now, Duration::ZERO, Seen::default());
        assert_eq!(decided.paused, Some(Paused { reason: PauseReason::ByOwner, until: Some(later) }));
        assert_eq!(decided.give_back, decided.paused);
        assert_eq!(reason(&mut restarted, later), None);
        assert_eq!(restarted.kept().0.paused, None);
    }

    #[test]
    fn what_drains_finishes_unless_its_owner_cannot_wait() {
        let now = at("2027-01-01T00:00:00Z");
        let mut lender = lender(Policy::default());
        lender.drain();
        let decided = lender.decide(now, Duration::ZERO, Seen::default());
        assert_eq!(decided.paused.map(|paused| paused.reason), Some(PauseReason::Draining));
        assert_eq!(decided.give_back, None);
        lender.pause(PauseSource::Signal, None);
        let decided = lender.decide(now, Duration::ZERO, Seen::default());
        assert_eq!(decided.give_back.map(|paused| paused.reason), Some(PauseReason::ByOwner));
        lender.resume();
        assert_eq!(reason(&mut lender, now), None);
    }

    #[test]
    fn the_portal_only_lowers() {
        let now = at("2027-01-01T00:00:00Z");
        let mut lender = lender(Policy::default());
        let caps = |cores, egress| CapsWish { cores: Some(cores), egress, ..CapsWish::default() };
        let wish = |caps, pause| NodeWish { caps, pause };
        let first = RevisedWish::default().followed_by(wish(caps(1, None), None), now);
        assert!(lender.told(first));
        lender.wish(caps(2, Some(false)).into()).unwrap();
        assert_eq!((lender.caps().cores, lender.caps().egress), (1, false));
        assert!(lender.wish(caps(3, None).into()).is_err());
        let second = first.followed_by(wish(caps(9, Some(true)), None), now);
        assert!(lender.told(second));
        assert_eq!((lender.caps().cores, lender.caps().egress), (2, false), "whatever the platform says");
        lender.pause(PauseSource::Cli, None);
        assert!(lender.told(second.followed_by(wish(caps(1, None), None), now)));
        assert_eq!(reason(&mut lender, now), Some(PauseReason::ByOwner), "it was said on the machine");
    }

    #[test]
    fn a_pause_from_afar_ends_from_afar_or_on_the_machine_and_comes_back_with_no_other_wish() {
        let now = at("2027-01-01T00:00:00Z");
        let mut lender = lender(Policy::default());
        let pause =
            |drain| NodeWish { pause: Some(WishedPause { drain, ..WishedPause::default() }), ..NodeWish::default() };
        let first = RevisedWish::default().followed_by(pause(false), now);
        assert!(lender.told(first) && !lender.told(first));
        assert_eq!(reason(&mut lender, now), Some(PauseReason::ByOwner));
        assert_eq!(lender.reasons(now)[0].by, Some(PauseSource::Portal));
        let second = first.followed_by(NodeWish::default(), now);
        assert!(lender.told(second) && reason(&mut lender, now).is_none());

        let third = second.followed_by(pause(true), at("2027-01-01T00:00:01Z"));
        assert!(lender.told(third));
        let decided = lender.decide(now, Duration::ZERO, Seen::default());
        assert_eq!((decided.paused.map(|it| it.reason), decided.give_back), (Some(PauseReason::Draining), None));
        lender.resume();
        assert_eq!(reason(&mut lender, now), None);
        let caps = CapsWish { cores: Some(1), ..CapsWish::default() };
        let fourth = third.followed_by(NodeWish { caps, ..third.wish }, now);
        assert!(lender.told(fourth));
        assert_eq!((reason(&mut lender, now), lender.caps().cores), (None, 1));
        let (document, meter) = lender.kept();
        let mut restarted = Lender::new(CAPS, Policy::default(), document.clone(), meter.clone());
        assert_eq!((reason(&mut restarted, now), restarted.caps().cores), (None, 1));
        assert!(restarted.told(fourth.followed_by(pause(false), at("2027-01-01T00:00:02Z"))));
        assert_eq!(reason(&mut restarted, now), Some(PauseReason::ByOwner), "another one");
    }

    #[test]
    fn what_comes_late_does_not_count_and_a_restored_platform_is_right() {
        let now = at("2027-01-01T00:00:00Z");
        let mut lender = lender(Policy::default());
        let cores = |cores| NodeWish { caps: CapsWish { cores: Some(cores), ..CapsWish::default() }, pause: None };
        let first = RevisedWish::default().followed_by(cores(1), now);
        let second = first.followed_by(cores(2), now);
        assert!(lender.told(second) && !lender.told(first));
        assert!(!lender.told_with_hello(0, first), "the hello was sent before");
        assert_eq!(lender.caps().cores, 2);
        assert!(!lender.told_with_hello(2, second) && lender.told_with_hello(2, first));
        assert_eq!(lender.caps().cores, 1);
    }

    #[test]
    fn a_month_s_traffic_is_used_up_until_the_month_ends() {
        let now = at("2027-01-31T00:00:00Z");
        let mut lender = lender(Policy::default());
        lender.ended(now, Ended { traffic: ByteSize(999), ..Ended::default() });
        assert_eq!(reason(&mut lender, now), None);
        lender.ended(now, Ended { traffic: ByteSize(1), ..Ended::default() });
        let paused = lender.decide(now, Duration::ZERO, Seen::default()).paused;
        let ends = at("2027-02-01T00:00:00Z");
        assert_eq!(paused, Some(Paused { reason: PauseReason::TrafficUsed, until: Some(ends) }));
        assert_eq!(reason(&mut lender, ends), None);
    }

    #[test]
    fn quiet_hours_and_batteries_pause_where_that_was_agreed() {
        let hours = Some("22:00-07:00 UTC".parse().unwrap());
        let mut owned = lender(Policy { quiet_hours: hours, on_battery: true, when_owner_active: false });
        assert_eq!(reason(&mut owned, at("2027-01-01T21:59:59Z")), None);
        assert_eq!(reason(&mut owned, at("2027-01-01T22:00:00Z")), Some(PauseReason::QuietHours));
        owned.resume();
        assert_eq!(reason(&mut owned, at("2027-01-01T22:00:00Z")), Some(PauseReason::QuietHours), "by themselves");
        let seen = Seen { on_battery: true, sample: None };
        let noon = at("2027-01-01T12:00:00Z");
        let on_battery = |lender: &mut Lender| lender.decide(noon, Duration::ZERO, seen).paused.map(|it| it.reason);
        assert_eq!(on_battery(&mut owned), Some(PauseReason::OnBattery));
        assert_eq!(on_battery(&mut lender(Policy::default())), None);
    }
}
