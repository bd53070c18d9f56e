//! Starting other programs: with a limit, and with an error that names the command.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::{During, Failure, Outcome};
use crate::{poll, signals};

/// Enough to see a cause, short enough to read.
const LAST_LINES: usize = 25;

/// One call of a program.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(String, Option<String>)>,
    directory: Option<PathBuf>,
    input: Option<Vec<u8>>,
    limit: Option<Duration>,
    /// Not reached by Ctrl-C: for what cleans up.
    shielded: bool,
}

/// What a program left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Call {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            directory: None,
            input: None,
            limit: None,
            shielded: false,
        }
    }

    #[must_use]
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.env.push((name.to_owned(), Some(value.into())));
        self
    }

    #[must_use]
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.env.push((name.to_owned(), None));
        self
    }

    #[must_use]
    pub(crate) fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    #[must_use]
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    #[must_use]
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    #[must_use]
    pub(crate) fn shielded(mut self) -> Self {
        self.shielded = true;
        self
    }

    /// The command as a person would type it: without its directory.
    pub(crate) fn line(&self) -> String {
        let program = Path::new(&self.program);
        let words = std::iter::once(program.file_name().unwrap_or(&self.program));
        let words = words.chain(self.args.iter().map(OsString::as_os_str));
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }

    /// Runs it to its end, whatever its exit code, and returns what it printed.
    pub(crate) fn finish(&self) -> Outcome<Finished> {
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        let status = self.wait(&mut child)?;
        Ok(Finished { code: code(status), stdout: text(&stdout), stderr: text(&stderr) })
    }

    /// Runs it to its end; any exit code but 0 is a failure that shows the last lines of its output.
    pub(crate) fn output(&self) -> Outcome<String> {
        let finished = self.finish()?;
        if finished.code == 0 { Ok(finished.stdout) } else { Err(self.failed(&finished)) }
    }

    pub(crate) fn failed(&self, finished: &Finished) -> Failure {
        let said = if finished.stderr.trim().is_empty() { &finished.stdout } else { &finished.stderr };
        Failure::new(format!(
            "`{}` ended with exit code {}:\n{}",
            self.line(),
            finished.code,
            last_lines(said)
        ))
    }

    /// Runs it with our own input and output, waits for it through Ctrl-C, and returns its exit code.
    pub(crate) fn attached(&self) -> Outcome<i32> {
        let mut child = self.spawn(Stdio::inherit(), Stdio::inherit())?;
        let status = loop {
            // Ctrl-C reached the child too (one process group), so it is only waited for while it cleans up. A signal to this process
            // alone is passed on once; then the wait goes on in the same way.
            let ended = poll::until(Duration::from_millis(500), || child.try_wait().transpose());
            if let Some(status) = ended {
                break status.during(|| format!("wait for `{}`", self.line()))?;
            }
            if signals::terminated() {
                // As Ctrl-C, because that is what every program here cleans up after.
                signal(child.id(), "INT");
                break child.wait().during(|| format!("wait for `{}`", self.line()))?;
            }
        };
        Ok(code(status))
    }

    /// Runs it and hands over each line of its output as it comes. Returns the exit code and the last lines.
    pub(crate) fn lines(&self, mut on_line: impl FnMut(&str)) -> Outcome<(i32, String)> {
        let mut child = self.spawn(Stdio::piped(), Stdio::piped())?;
        let (sender, receiver) = mpsc::channel();
        let streams: [Option<Box<dyn Read + Send>>; 2] =
            [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
        for stream in streams.into_iter().flatten() {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                    let line = String::from_utf8_lossy(&line);
                    if sender.send(line.trim_end_matches('\r').to_owned()).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let deadline = self.limit.map(|limit| Instant::now() + limit);
        let mut seen = Vec::new();
        loop {
            match receiver.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => {
                    on_line(&line);
                    seen.push(line);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
            self.check(&mut child, deadline)?;
        }
        let status = self.wait(&mut child)?;
        Ok((code(status), last_lines(&seen.join("\n"))))
    }

    /// Starts it on its own, in a new session, with its output in a file; returns its process id.
    pub(crate) fn detached(&self, log: std::fs::File) -> Outcome<Child> {
        let errors = log.try_clone().during(|| "duplicate the log's handle".to_owned())?;
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command.spawn().map_err(|error| self.not_started(&error))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        if self.shielded {
            command.process_group(0);
        }
        command
    }

    fn spawn(&self, stdout: Stdio, stderr: Stdio) -> Outcome<Child> {
        let mut command = self.command();
        command.stdout(stdout).stderr(stderr);
        if self.input.is_some() {
            command.stdin(Stdio::piped());
        }
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        if let (Some(input), Some(mut stdin)) = (self.input.clone(), child.stdin.take()) {
            // In its own thread: a program that writes before it has read all would otherwise stop both.
            thread::spawn(move || stdin.write_all(&input));
        }
        Ok(child)
    }

    fn not_started(&self, error: &std::io::Error) -> Failure {
        let failure =
            Failure::new(format!("`{}` could not be started: {error}", self.program.to_string_lossy()));
        if error.kind() == std::io::ErrorKind::NotFound {
            failure.help("install it, or add its directory to PATH")
        } else {
            failure
        }
    }

    fn wait(&self, child: &mut Child) -> Outcome<ExitStatus> {
        let deadline = self.limit.map(|limit| Instant::now() + limit);
        loop {
            let ended = poll::until(Duration::from_millis(200), || child.try_wait().transpose());
            if let Some(status) = ended {
                return status.during(|| format!("wait for `{}`", self.line()));
            }
            self.check(child, deadline)?;
        }
    }

    /// Ends the child when its time is over or when we are asked to stop.
    fn check(&self, child: &mut Child, deadline: Option<Instant>) -> Outcome {
        let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let stop = signals::stop_asked() && !self.shielded;
        if !late && !stop {
            return Ok(());
        }
        signal(child.id(), "TERM");
        if poll::until(Duration::from_secs(5), || child.try_wait().transpose()).is_none() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if stop {
            return Err(Failure::interrupted());
        }
        let limit = self.limit.unwrap_or_default();
        Err(Failure::new(format!(
            "`{}` did not end within {} s and was stopped",
            self.line(),
            limit.as_secs()
        )))
    }
}

/// Sends a signal through the shell's own `kill`: the standard library has none, and the program of that name is not everywhere.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", r#"kill -"$1" "$2""#, "sh", name, &pid.to_string()]).output();
    // A process that is gone needs no signal.
    drop(sent);
}

pub(crate) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let skipped = lines.len().saturating_sub(LAST_LINES);
    lines.into_iter().skip(skipped).collect::<Vec<_>>().join("\n")
}

/// As a shell reports it: 128 and the signal's number for a program that a signal ended.
fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

fn collect(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = sender.send(bytes);
    });
    receiver
}

/// A grandchild may hold the pipe open after the program's end; that must not become a hang.
fn text(receiver: &Receiver<Vec<u8>>) -> String {
    let bytes = receiver.recv_timeout(Duration::from_secs(2)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Call {
        Call::new("sh").args(["-c", script])
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        let finished = shell("echo out; echo err >&2; exit 7").finish().expect("runs");
        assert_eq!(
            (finished.code, finished.stdout.as_str(), finished.stderr.as_str()),
            (7, "out\n", "err\n")
        );
    }

    #[test]
    fn a_failure_names_the_command_and_shows_its_last_words() {
        let failure = shell("echo no space left >&2; exit 3").output().expect_err("fails").to_string();
        assert!(failure.contains("sh -c"), "{failure}");
        assert!(failure.contains("exit code 3"), "{failure}");
        assert!(failure.contains("no space left"), "{failure}");
    }

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let begun = Instant::now();
        let failure =
            Call::new("sleep").arg("60").limit(Duration::from_millis(50)).finish().expect_err("late");
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(failure.to_string().contains("`sleep 60` did not end"), "{failure}");
    }

    #[test]
    fn a_missing_program_says_so() {
        let failure = Call::new("no-such-program-here").finish().expect_err("missing").to_string();
        assert!(failure.contains("no-such-program-here") && failure.contains("PATH"), "{failure}");
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(Call::new("cat").input("hello").output().expect("runs"), "hello");
    }

    #[test]
    fn lines_come_one_by_one_from_both_streams() {
        let mut seen = Vec::new();
        let (code, last) =
            shell("echo a; echo b >&2").lines(|line| seen.push(line.to_owned())).expect("runs");
        seen.sort();
        assert_eq!((code, seen), (0, vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(last.lines().count(), 2);
    }

    #[test]
    fn death_by_a_signal_has_an_exit_code() {
        assert_eq!(shell("kill -TERM $$").finish().expect("runs").code, 143);
    }
}
