//! One prompt, from the request to its outcome.

mod calls;
mod check;
pub(crate) mod drive;
mod feed;
mod fold;
pub(crate) mod inputs;
mod outcome;
mod over;
mod verdict;

#[cfg(test)]
mod fold_tests;
