//! A progress bar on standard error for queries that take longer than a second. It is drawn only
//! where a person looks at standard error, and is gone before a result is printed.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use fuseline::Progress;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Steps of the bar.
const SCALE: u64 = 10_000;
/// A query this long gets a bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bar of one query, not drawn yet at first.
pub struct Bar {
    started: Instant,
    wanted: bool,
    drawn: Option<ProgressBar>,
}

impl Bar {
    /// A bar that shows itself when the query has run for a second.
    pub fn new() -> Bar {
        Bar { started: Instant::now(), wanted: io::stderr().is_terminal(), drawn: None }
    }

    /// Draws how far the query is. Called a few times a second.
    pub fn tick(&mut self, progress: Option<Progress>) {
        if !self.wanted || self.started.elapsed() < PATIENCE {
            return;
        }
        let Some(progress) = progress else {
            return;
        };
        let elapsed = self.started.elapsed();
        let bar = self.drawn.get_or_insert_with(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_elapsed(elapsed)
        });
        bar.set_message(HumanCount(progress.rows).to_string());
        match progress.fraction {
            Some(fraction) => {
                bar.set_style(style("{elapsed} {wide_bar} {percent:>3}% {msg} rows"));
                bar.set_length(SCALE);
                bar.set_position((fraction * SCALE as f64) as u64);
            }
            None => bar.set_style(style("{elapsed} {spinner} {msg} rows")),
        }
        bar.tick();
    }

    /// Takes the bar away, so that a result can be printed.
    pub fn clear(&mut self) {
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
        self.wanted = false;
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
