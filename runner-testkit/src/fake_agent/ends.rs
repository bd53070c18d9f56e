//! The ways in which turns end, each with the order of events that a real server shows for it.

use runner_core::session::{AgentFailure, Finish, SessionStatus, ToolState};

use super::play::{Halt, Player};
use super::script::{End, TurnScript, aborted};

impl Player {
    /// Plays an end that lets nothing begin. `false` if it is not one.
    pub(super) async fn begin_refused(&mut self, end: &End) -> Result<bool, Halt> {
        match end {
            End::AgentRefused(failure) => {
                self.change(|server| server.fail(&self.session, failure))?;
                self.wait(std::time::Duration::ZERO).await?;
                self.change(|server| server.fail(&self.session, failure))?;
            }
            End::ModelRefused(failure) => {
                self.change(|server| {
                    server.set_status(&self.session, SessionStatus::Busy);
                    server.fail(&self.session, failure);
                    server.set_idle(&self.session);
                })?;
                self.wait(std::time::Duration::ZERO).await?;
                self.change(|server| server.fail(&self.session, failure))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    pub(super) async fn end(&mut self, script: &TurnScript) -> Result<(), Halt> {
        match &script.end {
            End::Finish(finish) => {
                // A turn may end with the message that called tools: a rejected permission does that.
                self.open(*finish == Finish::ToolCalls)?;
                self.close(Some(finish))?;
                self.become_idle(script.stays_busy)
            }
            End::NoFinish => {
                self.open(true)?;
                self.close(None)?;
                self.become_idle(script.stays_busy)
            }
            End::Failure { failure, stored_after } => {
                self.open(false)?;
                self.change(|server| {
                    server.fail(&self.session, failure);
                    server.set_idle(&self.session);
                })?;
                self.wait(*stored_after).await?;
                self.store_failure(Some(failure))
            }
            End::EmptySteps { every } => loop {
                self.open(false)?;
                self.close(Some(&Finish::Other("unknown".to_owned())))?;
                self.wait(*every).await?;
            },
            End::Never => {
                self.open(true)?;
                self.until(std::future::pending()).await
            }
            // Played before anything began.
            End::ModelRefused(_) | End::AgentRefused(_) => Ok(()),
        }
    }

    pub(super) fn become_idle(&self, stays_busy: bool) -> Result<(), Halt> {
        self.change(|server| {
            server.set_status(&self.session, SessionStatus::Busy);
            if stays_busy {
                return;
            }
            // A queued prompt goes on in the same loop, without an idle between.
            let queued = server.sessions.get(&self.session).is_some_and(|s| !s.queue.is_empty());
            if !queued {
                server.set_idle(&self.session);
            }
            server.settle(&self.session, &self.user);
        })
    }

    /// The message learns of its end only here, after an idle, and a second idle follows.
    fn store_failure(&mut self, failure: Option<&AgentFailure>) -> Result<(), Halt> {
        let current = self.current.take();
        self.change(|server| {
            if let Some(mut current) = current {
                current.info.error = failure.cloned();
                current.info.completed = true;
                server.put_message(&current.info);
            }
            server.set_idle(&self.session);
        })
    }

    /// Three different endings, by what the abort hit.
    pub(super) fn end_aborted(&mut self) -> Result<(), Halt> {
        if let Some(part) = self.writing.take() {
            self.change(|server| server.put_part(&self.session, &part))?;
        }
        if self.retrying {
            // Neither an error nor a finish: all that tells is that we asked for it.
            return self.store_failure(None);
        }
        if self.tool.is_some() {
            // No failure is reported while a tool runs.
            self.tool_becomes(|input| ToolState::Failed {
                input,
                error: "Tool execution aborted".to_owned(),
            })?;
            self.tool = None;
        } else {
            self.change(|server| server.fail(&self.session, &aborted()))?;
        }
        self.change(|server| server.set_idle(&self.session))?;
        self.store_failure(Some(&aborted()))
    }
}
