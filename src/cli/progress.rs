//! How far long work has come: on standard error, on a terminal only, gone when it is done.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar for so many steps.
pub(super) fn bar(steps: u64, what: &'static str) -> ProgressBar {
    made(ProgressBar::new(steps), what, "{msg} {wide_bar} {pos}/{len}, {eta} left")
}

/// For work whose length nobody knows: how long it has taken.
pub(super) fn clock(what: &'static str) -> ProgressBar {
    made(ProgressBar::no_length(), what, "{spinner} {msg} {elapsed}")
}

fn made(bar: ProgressBar, what: &'static str, template: &str) -> ProgressBar {
    // Hidden where standard error is no terminal.
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
