//! A block among those that are merged: closed, then open, then frame by frame from the newest.

use protocol::RunId;
use uuid::Uuid;

use super::Span;
use crate::line::Lines;
use crate::{Body, Error, Run};

/// A block, as far as it is read.
#[derive(Debug)]
pub(super) struct Source {
    span: Span,
    /// The greatest id that the next run can have; its very id where its frame is unpacked.
    key: RunId,
    body: Option<Reading>,
}

/// An open body.
#[derive(Debug)]
struct Reading {
    body: Body,
    /// So many frames, the oldest, are not unpacked yet.
    frames: usize,
    /// The frame after these, and how many of its lines, the oldest, were not given yet.
    lines: Option<(Lines, usize)>,
}

/// What a block comes to when its next run is wanted.
#[derive(Debug)]
pub(super) enum Stage {
    /// Its body is needed.
    Closed,
    /// A frame is to be unpacked.
    Packed,
    /// The run. One that cannot be read is passed over.
    Read(Box<Result<Run, Error>>),
}

impl Source {
    pub(super) const fn new(span: Span) -> Self {
        Self { span, key: span.last, body: None }
    }

    pub(super) const fn number(&self) -> u64 {
        self.span.number
    }

    pub(super) const fn key(&self) -> RunId {
        self.key
    }

    /// Takes the next run, if its frame is unpacked.
    pub(super) fn advance(&mut self) -> Stage {
        let Some(reading) = &mut self.body else { return Stage::Closed };
        let line = reading.lines.as_mut().and_then(|(lines, left)| {
            *left = left.checked_sub(1)?;
            lines.line(*left)
        });
        match line {
            Some(line) => Stage::Read(Box::new(reading.body.run(reading.frames, line))),
            None => Stage::Packed,
        }
    }

    /// Takes the body, if it is that of this block.
    pub(super) fn open(&mut self, body: Body) -> Result<(), Error> {
        let ids = body.frames().first().zip(body.frames().last()).map(|(first, last)| (first.first, last.last));
        if body.number() != self.span.number || ids != Some((self.span.first, self.span.last)) {
            return Err(self.damaged("its body is that of another block"));
        }
        self.body = Some(Reading { frames: body.frames().len(), body, lines: None });
        Ok(())
    }

    /// Unpacks the next frame. A damaged one is passed over.
    pub(super) fn unpack(&mut self) -> Result<(), Error> {
        let Some(reading) = &mut self.body else { return Ok(()) };
        reading.frames = reading.frames.saturating_sub(1);
        let lines = reading.body.lines(reading.frames)?;
        let left = lines.count();
        reading.lines = Some((lines, left));
        Ok(())
    }

    /// Passes over what is not below `before`, and says whether something above `floor` may be left.
    pub(super) fn lower(&mut self, before: Option<RunId>, floor: Option<RunId>) -> bool {
        let below = |id: RunId| before.is_none_or(|before| id < before);
        let greatest = |last: RunId| before.map_or(last, |before| last.min(preceding(before)));
        let Some(reading) = &mut self.body else {
            self.key = greatest(self.span.last);
            return below(self.span.first) && floor.is_none_or(|floor| self.key > floor);
        };
        let next = reading.lines.as_mut().and_then(|(lines, left)| {
            *left = before.map_or(*left, |before| lines.below(before).min(*left));
            lines.id(left.checked_sub(1)?)
        });
        let next = next.or_else(|| {
            reading.lines = None;
            let frames = &reading.body.frames()[..reading.frames];
            reading.frames = frames.partition_point(|frame| below(frame.first));
            frames[..reading.frames].last().map(|frame| greatest(frame.last))
        });
        self.key = next.unwrap_or(self.key);
        next.is_some_and(|key| floor.is_none_or(|floor| key > floor))
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Damaged { block: self.span.number, frame: None, why: why.to_owned() }
    }
}

/// The next lesser id.
fn preceding(run: RunId) -> RunId {
    RunId::from_uuid(Uuid::from_u128(run.uuid().as_u128().saturating_sub(1)))
}
