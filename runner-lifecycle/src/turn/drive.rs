//! A turn under way: asks the server, waits for events, and gives up in time.
//!
//! At any moment at most one request to the server is in flight, and everything else (events, the container's
//! death, calls, clocks) is listened to beside it, so nothing that hangs can hide anything else.

use std::sync::Arc;
use std::time::Duration;

use runner_core::event::RunEventKind;
use runner_core::session::{AgentEvent, AgentEventStream, Prompt};
use runner_core::{
    AgentApi, Error, ErrorKind, MessageId, Outcome, Result, RunResult, RunnerStatus, SessionId, StopReason,
    Turn,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::calls::{Answer, Call};
use super::check::CheckClock;
use super::feed::Feed;
use super::fold::TurnFold;
use super::inputs::Inputs;
use super::over::{Cut, Cutting, Lost, Over};
use crate::actor::{Actor, End, answer, next_of};
use crate::config::TurnConfig;
use crate::handle::{Asked, Command};

/// First pause before the event stream is opened again; it doubles up to the longest.
pub(super) const RECONNECT_PAUSE: Duration = Duration::from_millis(50);
pub(super) const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Longest time limit; any longer one is none, and a clock cannot count it.
const LONGEST: Duration = Duration::from_hours(24 * 365);
/// User's messages of earlier turns that are remembered: late news come from the last turns, not from old ones.
const REMEMBERED: usize = 16;

/// Requests of earlier turns that are remembered: as many as an agent could ask in one answer, and more.
const REMEMBERED_REQUESTS: usize = 256;

/// What the runner does after a turn.
pub(crate) enum TurnEnd {
    /// It takes the next one.
    Ready,
    /// It ends.
    End(End),
}

/// Where the turn stands with its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not sent yet.
    Before,
    /// On its way.
    Sent,
    /// Sent; whether it arrived is asked, because the answer was lost.
    Unknown,
    /// The server has it.
    Accepted,
}

pub(super) struct Drive {
    pub(super) api: Arc<dyn AgentApi>,
    pub(super) session: SessionId,
    pub(super) message: MessageId,
    pub(super) prompt: Prompt,
    pub(super) config: TurnConfig,
    pub(super) began: Instant,
    pub(super) deadline: Instant,
    pub(super) stage: Stage,
    pub(super) fold: TurnFold,
    pub(super) clock: CheckClock,
    pub(super) feed: Feed,
    /// Events that wait for the prompt to be accepted, so that `Started` is the first.
    pub(super) out: Vec<RunEventKind>,
    pub(super) reply: Option<oneshot::Sender<Result<Turn>>>,
    /// Set while the stream is lost: since when, the next try, the pause after it.
    pub(super) lost_stream: Option<(Instant, Instant, Duration)>,
    /// Whether the last check found the session at work.
    pub(super) checked_busy: bool,
    pub(super) cutting: Option<Cutting>,
    pub(super) inputs: Inputs,
    /// Whether the caller has gone before it took the turn; `None` once that is settled.
    kept: Option<oneshot::Receiver<()>>,
    cancels: Vec<oneshot::Sender<()>>,
    /// Whether the runner itself is to end.
    stop: bool,
}

/// Runs one turn and tells what the runner does next.
pub(crate) async fn turn(actor: &mut Actor, asked: Asked) -> TurnEnd {
    let mut drive = Drive::new(actor, asked);
    let over = drive.run(actor).await;
    drive.close(actor, over)
}

impl Drive {
    fn new(actor: &Actor, Asked { request, reply, kept }: Asked) -> Self {
        let now = Instant::now();
        let message = actor.api.next_message_id();
        let config = actor.config.turn;
        let lost_stream = actor.stream.is_none().then_some((now, now, RECONNECT_PAUSE));
        Self {
            api: Arc::clone(&actor.api),
            session: actor.session.clone(),
            prompt: Prompt {
                message: message.clone(),
                text: request.prompt().to_owned(),
                model: request.model().cloned(),
                system: request.system().map(str::to_owned),
                mode: request.mode().map(str::to_owned),
                attachments: request.attachments().to_vec(),
            },
            fold: TurnFold::new(
                actor.session.clone(),
                message.clone(),
                actor.earlier_prompts.clone(),
                &actor.stale_requests,
            ),
            message,
            began: now,
            deadline: now + request.timeout().unwrap_or(config.timeout).min(LONGEST),
            stage: Stage::Before,
            clock: CheckClock::new(now, config.probe_after),
            feed: Feed::new(actor.next_seq, config.event_buffer),
            config,
            out: Vec::new(),
            reply: Some(reply),
            lost_stream,
            checked_busy: false,
            cutting: None,
            inputs: Inputs::new(config.input),
            kept: Some(kept),
            cancels: Vec::new(),
            stop: false,
        }
    }

    async fn run(&mut self, actor: &mut Actor) -> Over {
        let mut call: Option<Call> = None;
        let mut held = true;
        loop {
            let now = Instant::now();
            if let Some(over) = self.over(now) {
                return over;
            }
            if self.abort_is_due() && call.as_ref().is_some_and(|c| c.droppable) {
                call = None;
            }
            if call.is_none() {
                call = self.next_call(now, actor.stream.is_some());
            }
            let wake = self.wake_at(call.is_some());
            tokio::select! {
                biased;
                exit = &mut actor.death => {
                    let error = actor.death_of(exit).await;
                    return self.lost(Lost::Container(error));
                }
                answer = answer_of(&mut call), if call.is_some() => {
                    call = None;
                    if let Some(over) = self.on_answer(answer, &mut actor.stream) {
                        return over;
                    }
                }
                command = actor.commands.recv(), if held => {
                    held = command.is_some();
                    self.on_command(command);
                }
                kept = kept_of(&mut self.kept), if self.kept.is_some() => {
                    self.kept = None;
                    if !kept {
                        // Nobody could cancel it.
                        self.cut(Cut::Canceled, Instant::now());
                    }
                }
                // After the calls: a stream that always has something must not starve a cancel.
                event = next_of(&mut actor.stream), if actor.stream.is_some() => {
                    self.on_event(event, &mut actor.stream);
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// When there is something to decide even if nothing happens until then.
    fn wake_at(&self, calling: bool) -> Instant {
        let cut = self.cutting.as_ref().map(|c| c.until);
        let mut wake = cut.unwrap_or(self.deadline);
        if let Some(due) = self.inputs.due() {
            wake = wake.min(due);
        }
        if !calling {
            if let Some((_, at, _)) = self.lost_stream {
                wake = wake.min(at);
            }
            if matches!(self.stage, Stage::Unknown | Stage::Accepted) {
                wake = wake.min(self.clock.due());
            }
        }
        if let Some((since, _, _)) = self.lost_stream {
            wake = wake.min(since + self.config.reconnect);
        }
        wake
    }

    fn on_event(&mut self, event: Option<Result<AgentEvent>>, stream: &mut Option<AgentEventStream>) {
        let now = Instant::now();
        match event {
            Some(Ok(event)) => {
                let failed = self.fold.failure().is_some();
                if self.fold.on_event(&event, &mut self.out) {
                    self.clock.note_activity(now);
                }
                self.note_requests(now);
                if !failed && self.fold.failure().is_some() {
                    // Whether the session goes on in spite of it is not known.
                    self.checked_busy = false;
                }
                self.flush();
            }
            broken => {
                if let Some(Err(error)) = broken {
                    tracing::debug!(session = %self.session, error = error.chain(), "the event stream broke");
                }
                *stream = None;
                self.lost_stream = Some((now, now, RECONNECT_PAUSE));
                if self.stage != Stage::Before {
                    self.fold.note_gap();
                }
            }
        }
    }

    /// Passes on what the agent asks and what is settled.
    pub(super) fn note_requests(&mut self, now: Instant) {
        let (asked, settled) = self.fold.take_requests();
        for request in asked {
            self.inputs.asked(request, now, &mut self.out);
        }
        for request in settled {
            self.inputs.settled(&request, &mut self.out);
        }
    }

    fn on_command(&mut self, command: Option<Command>) {
        let now = Instant::now();
        match command {
            Some(Command::Run(Asked { reply, .. })) => {
                let busy = Error::new(ErrorKind::Busy, "run a turn", "another turn is under way")
                    .with_session(&self.session)
                    .with_hint("wait for its end, or cancel it")
                    .temporary();
                answer(reply, Err(busy));
            }
            Some(Command::Answer { request, answer, reply }) => self.inputs.give(&request, answer, reply),
            Some(Command::Cancel { reply }) => {
                self.cancels.push(reply);
                self.cut(Cut::Canceled, now);
            }
            Some(Command::Stop) => {
                self.stop = true;
                self.cut(Cut::Canceled, now);
            }
            // Nobody holds the runner any more; its task ends after the turn.
            None => self.cut(Cut::Canceled, now),
        }
    }

    pub(super) fn flush(&mut self) {
        if self.stage == Stage::Accepted {
            for kind in self.out.drain(..) {
                self.feed.send(kind);
            }
        }
    }

    /// Tells everybody how it ended, and what the runner does next.
    fn close(mut self, actor: &mut Actor, over: Over) -> TurnEnd {
        let (outcome, broken) = match over {
            Over::Ended(outcome) => (Ok(outcome), None),
            Over::Broken(outcome, error) => {
                let why = match outcome {
                    Outcome::Canceled => StopReason::Canceled,
                    Outcome::TimedOut => StopReason::TurnTimeout,
                    _ => StopReason::Replaced,
                };
                (Ok(outcome), Some((error, why)))
            }
            Over::Refused(error) => (Err(error.with_session(&self.session)), None),
        };
        actor.next_seq = self.feed.next_seq();
        if self.stage != Stage::Before {
            actor.earlier_prompts.extend_from_slice(self.fold.prompts());
            let old = actor.earlier_prompts.len().saturating_sub(REMEMBERED);
            actor.earlier_prompts.drain(..old);
        }
        actor.stale_requests.extend(self.inputs.close(&mut self.out));
        let old = actor.stale_requests.len().saturating_sub(REMEMBERED_REQUESTS);
        actor.stale_requests.drain(..old);
        if broken.is_none() && !self.stop {
            // Before anybody hears of the end: who then looks at the status must not see this turn.
            actor.set_status(RunnerStatus::Ready);
        }
        match (self.reply.take(), outcome) {
            (Some(reply), Err(error)) => answer(reply, Err(error)),
            // It broke before it began: the caller gets the error instead of a turn.
            (Some(reply), Ok(_)) => {
                let unknown = || Error::new(ErrorKind::Internal, "run a turn", "it ended before it began");
                let error = broken.as_ref().map_or_else(unknown, |(error, _)| error.clone());
                answer(reply, Err(error));
            }
            (None, Ok(outcome)) => {
                self.flush();
                let result = RunResult {
                    outcome,
                    text: self.fold.text(),
                    session: self.session,
                    message: self.message,
                    usage: self.fold.usage(),
                    duration: self.began.elapsed(),
                };
                let ms = u64::try_from(result.duration.as_millis()).unwrap_or(u64::MAX);
                tracing::info!(task = %actor.task, outcome = result.outcome.name(), ms, "a turn ended");
                actor.next_seq = self.feed.finish(result);
            }
            (None, Err(error)) => {
                tracing::error!(task = %actor.task, error = error.chain(), "a turn that had begun was refused");
            }
        }
        for reply in self.cancels {
            answer(reply, ());
        }
        match broken {
            Some((error, _)) if self.stop => {
                tracing::warn!(task = %actor.task, error = error.chain(), "the runner broke while it was being stopped");
                TurnEnd::End(End::Asked)
            }
            Some((error, why)) => TurnEnd::End(End::Broken(error, why)),
            None if self.stop => TurnEnd::End(End::Asked),
            None => TurnEnd::Ready,
        }
    }
}

/// Whether the caller has taken the answer; ends when that is known.
async fn kept_of(kept: &mut Option<oneshot::Receiver<()>>) -> bool {
    match kept {
        Some(kept) => kept.await.is_ok(),
        None => std::future::pending().await,
    }
}

async fn answer_of(call: &mut Option<Call>) -> Answer {
    match call {
        Some(call) => (&mut call.answer).await,
        None => std::future::pending().await,
    }
}
