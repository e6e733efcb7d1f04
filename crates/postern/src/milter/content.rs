//! What one filter is told of the content, and what it wants changed at the end.

use super::draft::{Draft, NewBody};
use super::link::{Link, Listener, Values};
use message::milter::{BODY_CHUNK, Edit, EditLimits, Event, Macros, Request, Verdict};
use queue::SpoolError;

/// What one filter said at the end of a message.
pub struct Changes {
    /// Warnings for the log.
    pub warnings: Vec<String>,
    /// What it wants changed, in order, but for the body.
    pub edits: Vec<Edit>,
    /// The new body.
    pub body: NewBody,
    /// The spool had no place for it.
    pub failed: Option<SpoolError>,
    limits: EditLimits,
}

impl Changes {
    /// None yet.
    pub fn new(body: NewBody) -> Self {
        Self { warnings: Vec::new(), edits: Vec::new(), body, failed: None, limits: EditLimits::default() }
    }
}

impl Listener for Changes {
    fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    fn edit(&mut self, edit: Edit) -> Result<(), String> {
        if !self.limits.take(&edit) {
            return Err("too many changes to one message".to_owned());
        }
        match edit {
            Edit::ReplaceBody(piece) => match self.body.push(&piece) {
                Ok(true) => Ok(()),
                Ok(false) => Err("the new body is larger than message_size_limit".to_owned()),
                Err(error) => {
                    let text = error.to_string();
                    self.failed = Some(error);
                    Err(text)
                }
            },
            edit => {
                self.edits.push(edit);
                Ok(())
            }
        }
    }
}

/// Tell a filter all of a message.
pub(super) async fn tell(
    link: &mut Link,
    macros: &Macros,
    values: &Values<'_>,
    draft: &Draft,
    changes: &mut Changes,
) -> Result<Option<Verdict>, SpoolError> {
    let mut telling = Telling { link, macros, values, request: Request::default(), hold: None };
    for number in 0..draft.headers.len() {
        let Some((name, value)) = draft.headers.shown(number) else { continue };
        let fill = |request: &mut Request, steps| request.header(name, value, steps);
        if let Some(verdict) = telling.event(Event::Header, &fill, changes).await {
            return Ok(Some(verdict));
        }
    }
    let fill = |request: &mut Request, _| request.strings(Event::EndOfHeader, []);
    if let Some(verdict) = telling.event(Event::EndOfHeader, &fill, changes).await {
        return Ok(Some(verdict));
    }
    if let Some(verdict) = telling.body(draft, changes).await? {
        return Ok(Some(verdict));
    }
    let fill = |request: &mut Request, _| request.strings(Event::EndOfMessage, []);
    let verdict = telling.event(Event::EndOfMessage, &fill, changes).await;
    let hold = telling.hold;
    link.finished();
    Ok(verdict.or(hold))
}

/// Events on their way to one filter: what has no answer goes with what comes after it.
struct Telling<'a> {
    link: &'a mut Link,
    macros: &'a Macros,
    values: &'a Values<'a>,
    request: Request,
    hold: Option<Verdict>,
}

impl Telling<'_> {
    /// The verdict, if it ends the message.
    async fn event(
        &mut self,
        event: Event,
        fill: &(dyn Fn(&mut Request, u32) + Sync),
        changes: &mut Changes,
    ) -> Option<Verdict> {
        let verdict = match self.link.prepare(event, self.macros, self.values, fill, &mut self.request) {
            Err(settled) => settled,
            Ok(false) if self.request.bytes().len() < BODY_CHUNK => None,
            Ok(is_answered) => {
                let request = std::mem::take(&mut self.request);
                self.link.exchange(event, &request, is_answered, changes).await
            }
        };
        match verdict {
            Some(Verdict::Hold(reason)) => {
                self.hold.get_or_insert(Verdict::Hold(reason));
                None
            }
            decided => decided,
        }
    }

    async fn body(&mut self, draft: &Draft, changes: &mut Changes) -> Result<Option<Verdict>, SpoolError> {
        let mut raw = vec![0; BODY_CHUNK];
        let mut piece = Vec::with_capacity(2 * BODY_CHUNK);
        let (mut offset, mut last) = (0, b'\n');
        loop {
            if !self.link.hears(Event::Body) {
                return Ok(None);
            }
            let length = draft.read_body(&mut raw, offset)?;
            offset += length as u64;
            if let Some(&end) = raw[..length].last() {
                last = end;
            }
            for line in raw[..length].split_inclusive(|&byte| byte == b'\n') {
                match line.strip_suffix(b"\n") {
                    Some(text) => {
                        piece.extend_from_slice(text);
                        piece.extend_from_slice(b"\r\n");
                    }
                    None => piece.extend_from_slice(line),
                }
            }
            if length == 0 && last != b'\n' {
                piece.extend_from_slice(b"\r\n");
            }
            while piece.len() >= BODY_CHUNK || (length == 0 && !piece.is_empty()) {
                let end = piece.len().min(BODY_CHUNK);
                let fill = |request: &mut Request, _| request.body(&piece[..end]);
                if let Some(verdict) = self.event(Event::Body, &fill, changes).await {
                    return Ok(Some(verdict));
                }
                piece.drain(..end);
            }
            if length == 0 {
                return Ok(None);
            }
        }
    }
}
