//! Checks a download while it comes, and adds it up.

use std::collections::HashMap;

use protocol::{Flag, RunId, wire};

use super::{
    CORRECTIONS_MAX, DOWNLOAD_LINE_BYTES_MAX, Damaged, Event, FAULTS_MAX, Fault, FaultKind, Lines, Mark, Period, Report,
};
use crate::tally::Tally;
use crate::{Error, Header, Run, Totals, line};

/// Reads a download: checks each block and the chain, and adds up the runs of the period.
///
/// It keeps no more than a line, and the figures of those runs that were settled without the gateway's half, because only
/// they can be corrected by a later block.
#[derive(Debug)]
pub struct Reader {
    period: Period,
    /// How many lines were read.
    lines: u64,
    /// A line of which the end has not come.
    rest: Vec<u8>,
    /// The rest of this line is passed over: it is too long.
    too_long: bool,
    place: Place,
    /// The text of the header before, where it could be read.
    header: Option<String>,
    /// Runs that a later block may correct, with what they add to the sums; nothing outside the period.
    correctable: HashMap<RunId, Totals>,
    report: Report,
}

/// Where in the download a line stands.
#[derive(Debug)]
enum Place {
    /// Before the first block.
    Start,
    /// In a block.
    Block(Box<Open>),
    /// In a block whose header could not be read.
    Unknown,
}

/// A block whose lines are read.
#[derive(Debug)]
struct Open {
    header: Header,
    lines: Lines,
    tally: Tally,
    /// What is wrong with it was said already.
    faulty: bool,
}

impl Open {
    /// Reads the next run of the block.
    fn read(&mut self, line: &[u8]) -> Result<Run, String> {
        self.tally.add_line(line);
        let run = line::read(line)?;
        if run.account != self.header.account {
            return Err("a run is of another account".to_owned());
        }
        match self.tally.add_run(&run) {
            true => Ok(run),
            false => Err("its runs are not in the order of their ids".to_owned()),
        }
    }
}

impl Reader {
    /// A reader that adds up the runs of this period.
    #[must_use]
    pub fn new(period: Period) -> Self {
        Self {
            period,
            lines: 0,
            rest: Vec::new(),
            too_long: false,
            place: Place::Start,
            header: None,
            correctable: HashMap::new(),
            report: Report::default(),
        }
    }

    /// Reads the next bytes, wherever lines begin and end in them, and tells what each whole line was.
    pub fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Event)) {
        while let Some(length) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(length);
            bytes = rest.get(1..).unwrap_or_default();
            match std::mem::take(&mut self.too_long) {
                true => {}
                false if self.rest.is_empty() => each(self.line(line)),
                false => {
                    let mut whole = std::mem::take(&mut self.rest);
                    whole.extend_from_slice(line);
                    each(self.line(&whole));
                }
            }
        }
        if self.too_long {
            return;
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > DOWNLOAD_LINE_BYTES_MAX {
            self.too_long = true;
            let begun = std::mem::take(&mut self.rest);
            each(self.line(&begun));
        }
    }

    /// Reads the next line, without its line feed.
    pub fn line(&mut self, line: &[u8]) -> Event {
        self.lines += 1;
        let read = match line.len() {
            0..=DOWNLOAD_LINE_BYTES_MAX if line::id_of(line).is_some() => self.run(line),
            0..=DOWNLOAD_LINE_BYTES_MAX => self.mark(line),
            _ => Err(Some(FaultKind::Line(format!("it is longer than {DOWNLOAD_LINE_BYTES_MAX} bytes")))),
        };
        read.unwrap_or_else(|fault| {
            fault.into_iter().for_each(|fault| self.fault(fault));
            Event::Fault
        })
    }

    /// All bytes or lines were read.
    #[must_use]
    pub fn end(mut self) -> Report {
        if !self.rest.is_empty() {
            self.lines += 1;
            self.fault(FaultKind::Line("the last line is cut off".to_owned()));
            if let Place::Block(open) = &mut self.place {
                open.faulty = true;
            }
        }
        self.close();
        self.report
    }

    /// A line that is no run's.
    fn mark(&mut self, line: &[u8]) -> Result<Event, Option<FaultKind>> {
        let wrong = |why: &str| Some(FaultKind::Line(why.to_owned()));
        let mark: Mark = wire::read(line).map_err(|error| wrong(&format!("it cannot be read: {error}")))?;
        match (&mark.block, &mark.damaged) {
            (Some(header), None) => self.block(header.get(), mark.lines()),
            (None, Some(Damaged { block, why })) => {
                if let Place::Block(open) = &mut self.place
                    && open.header.number == *block
                {
                    open.faulty = true;
                }
                Err(Some(FaultKind::Missing { block: *block, why: why.clone() }))
            }
            _ => Err(wrong("it is of no known kind")),
        }
    }

    /// A block begins.
    fn block(&mut self, text: &str, lines: Lines) -> Result<Event, Option<FaultKind>> {
        self.close();
        self.place = Place::Unknown;
        let before = self.header.take();
        let header = Header::parse(text).map_err(|error| Some(error.into()))?;
        if let Some(Err(error)) = before.map(|before| header.follows(&before)) {
            self.fault(error.into());
        }
        self.header = Some(text.to_owned());
        self.report.blocks += 1;
        let first = self.report.numbers.map_or(header.number, |(first, _)| first);
        self.report.numbers = Some((first, header.number));
        match lines {
            Lines::Gone if self.period.overlaps(header.began, header.ended) => self.report.gone += 1,
            Lines::Outside if self.period.overlaps(header.began, header.ended) => {
                self.fault(damaged(&header, "its runs were left out, though some may be of the period"));
            }
            _ => {}
        }
        let open = Open { header: header.clone(), lines, tally: Tally::default(), faulty: false };
        self.place = Place::Block(Box::new(open));
        Ok(Event::Block(Box::new(header)))
    }

    /// A run.
    fn run(&mut self, line: &[u8]) -> Result<Event, Option<FaultKind>> {
        let open = match &mut self.place {
            Place::Block(open) => open,
            Place::Start => return Err(Some(FaultKind::Line("a run before the first block".to_owned()))),
            Place::Unknown => return Err(None),
        };
        if open.lines != Lines::Follow {
            return Err(Some(damaged(&open.header, "it has runs, though it says that none follow")));
        }
        let read = open.read(line);
        match read {
            Ok(run) => {
                let corrects = self.count(&run);
                Ok(Event::Run { run: Box::new(run), corrects })
            }
            Err(why) => {
                open.faulty = true;
                Err(Some(damaged(&open.header, &why)))
            }
        }
    }

    /// Adds a run to the sums, in place of its earlier line where there is one: whether there is.
    fn count(&mut self, run: &Run) -> bool {
        let share = if self.period.has(run.received) { Totals::of(run) } else { Totals::default() };
        let earlier = self.correctable.remove(&run.run);
        if let Some(earlier) = &earlier {
            self.report.totals.take(earlier);
            self.report.corrected += 1;
        }
        self.report.totals.add(&share);
        if run.flag == Some(Flag::NoObservation) && run.observed.is_none() {
            match self.correctable.len() {
                0..CORRECTIONS_MAX => drop(self.correctable.insert(run.run, share)),
                _ => self.fault(FaultKind::Corrections),
            }
        }
        earlier.is_some()
    }

    /// The block's lines were all there were: they must be what its header says.
    fn close(&mut self) {
        let Place::Block(open) = std::mem::replace(&mut self.place, Place::Start) else { return };
        if open.lines == Lines::Follow
            && !open.faulty
            && let Some(why) = open.tally.differs(&open.header)
        {
            self.fault(damaged(&open.header, why));
        }
    }

    fn fault(&mut self, what: FaultKind) {
        self.report.faults_count += 1;
        if self.report.faults.len() < FAULTS_MAX {
            self.report.faults.push(Fault { line: self.lines, what });
        }
    }
}

fn damaged(header: &Header, why: &str) -> FaultKind {
    Error::Damaged { block: header.number, frame: None, why: why.to_owned() }.into()
}
