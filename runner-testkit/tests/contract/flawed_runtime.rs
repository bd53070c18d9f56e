//! Engines that break one promise each, all of which the suite must notice.

mod engine;
mod spoil;

use std::sync::{Arc, Mutex};

use runner_core::container::StuckContainer;
use runner_core::{ContainerId, ContainerState, Error, ErrorKind};
use runner_testkit::contract::container_runtime;
use runner_testkit::fake_runtime::FakeRuntime;

macro_rules! flaws {
    ($($flaw:ident),* $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Flaw { $($flaw),* }

        const ALL: &[Flaw] = &[$(Flaw::$flaw),*];
    };
}

flaws![
    WaitTakesCreatedForEnded,
    WaitForgetsTheCode,
    WaitHangsOnceRemoved,
    SecondStartFails,
    SecondStopFails,
    StopAnswersEarly,
    SecondRemoveFails,
    RemoveLeavesIt,
    NameConflictHasAnotherKind,
    NamesAreShared,
    UnknownHasAnotherKind,
    PortsOnAllAddresses,
    PortsNeverAppear,
    PortsOfTheDead,
    ListMatchesPrefixes,
    ListForgetsCreated,
    SpecsAreNotChecked,
    LogsAreEmpty,
    TailIsIgnored,
    MissingImageIsMade,
    // How and why it ended, and when it began.
    StopOutcomeIsAGuess,
    StopForgetsWhy,
    StopOfThePausedFails,
    KillIsToldAsAStop,
    StopIsToldAsAnExit,
    ExitIsToldAsAStop,
    InspectForgetsTheReason,
    LaterStopChangesTheEnd,
    HolderIsNotNamed,
    CreationHasNoTime,
    StartHasNoTime,
    EveryStartHasTheSameTime,
    SinceIsIgnored,
    SinceLeavesOutAll,
    RemovedIsStuck,
    // What it may use and does use.
    UpdateOfNothingIsTaken,
    UpdateRefusesTheCreated,
    UpdateDoesNothing,
    SecondPauseFails,
    SecondUnpauseFails,
    PauseOfTheDeadSucceeds,
    UnpauseOfTheCreatedSucceeds,
    PausedLooksRunning,
    StatsOfTheDead,
    StatsOfTheDeadFail,
    StatsOfTheLivingAreNone,
    CpuTimeGoesBack,
    MoreIsUsedThanThereIs,
    UnknownPidsAreZero,
    // What happens.
    EventsBeginUnconnected,
    EventsOfOthers,
    EventsLoseTheDeath,
    EventsTwice,
    EventsOutOfOrder,
    EventsForgetLabels,
    EventsForgetTheCode,
    EventsEnd,
    // Files.
    CopyInIsNotChecked,
    CopyInIsCheckedOnTheWay,
    CopyInLosesModes,
    CopyInLosesOwners,
    CopyInDoesNothing,
    CopyInToTheRootIsLost,
    CopyInMakesItsDirectory,
    CopyOutIsCutOff,
    CopyOutIsToTheBrim,
    CopyOutOfNothingIsEmpty,
    CopyOutForgetsThePath,
    CopyOutGivesWholePaths,
    // What it says it cannot do.
    CannotUpdateAndDoes,
    CannotPauseAndDoes,
    CannotSampleAndDoes,
    CannotTellAndDoes,
    CannotCopyAndDoes,
];

#[derive(Debug)]
struct Flawed {
    engine: FakeRuntime,
    flaw: Flaw,
    stuck: Mutex<Vec<StuckContainer>>,
}

fn failed() -> Error {
    Error::new(ErrorKind::Engine, "obey", "a flaw")
}

impl Flawed {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == flaw
    }

    /// What it really is.
    fn state(&self, id: &ContainerId) -> Option<ContainerState> {
        self.engine.containers().into_iter().find(|info| info.id == *id).map(|info| info.state)
    }

    fn runs(&self, id: &ContainerId) -> bool {
        matches!(self.state(id), Some(ContainerState::Running | ContainerState::Paused))
    }
}

#[tokio::test(start_paused = true)]
async fn every_flaw_is_noticed_and_cleaned_up_after() {
    for &flaw in ALL {
        let engine = FakeRuntime::new();
        let fixture = crate::fixture(&engine);
        let flawed = Arc::new(Flawed { engine: engine.clone(), flaw, stuck: Mutex::default() });
        let suite = container_runtime::all(flawed, fixture);
        assert!(crate::is_noticed(suite).await, "{flaw:?} is not noticed");
        let cannot_clean = [Flaw::RemoveLeavesIt, Flaw::ListForgetsCreated].contains(&flaw);
        assert!(cannot_clean || engine.is_empty(), "{flaw:?} leaves something");
    }
}
