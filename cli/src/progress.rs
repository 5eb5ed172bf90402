//! A progress bar on standard error for queries that take longer than a second. It is drawn only
//! where a person looks at standard error, and is gone before a result is printed.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use fuseline::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
        Bar {
            started: Instant::now(),
            wanted: io::stderr().is_terminal(),
            drawn: None,
        }
    }

    /// Draws how far the query is. Called a few times a second.
    pub fn tick(&mut self, progress: Option<Progress>) {
        if !self.wanted || self.started.elapsed() < PATIENCE {
            return;
        }
        let (done, total) = progress.map_or((0, None), |p| (p.rows, p.total_rows));
        let bar = self.drawn.get_or_insert_with(|| {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
                .with_elapsed(self.started.elapsed())
        });
        match total.filter(|&total| total > 0) {
            Some(total) => {
                bar.set_style(style(
                    "{elapsed} {wide_bar} {percent:>3}% of {human_len} rows",
                ));
                bar.set_length(total);
                bar.set_position(done.min(total));
            }
            None => {
                bar.set_style(style("{elapsed} {spinner} {human_pos} rows"));
                bar.set_position(done);
            }
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
