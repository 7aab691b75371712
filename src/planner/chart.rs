//! A plan as a chart: the relative error of a campaign by its size, one line for each window.

use std::fmt::Write as _;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::combinators::LogCoord;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Plan;
use super::choice::{Choice, expected};
use super::table::{percent, released, short};
use super::window::Window;
use crate::privacy::ledger::EPOCH_SECONDS;

/// Size in pixels; an SVG scales.
const SIZE: (u32, u32) = (960, 600);

/// The largest error that is drawn: twice the number itself says nothing any more.
const ERROR_MAX: f64 = 2.0;

/// The smallest error that is drawn.
const ERROR_MIN: f64 = 1e-5;

/// With more campaigns than this their names would cover each other; they are marked without.
const NAMES_MAX: usize = 12;

/// Rows over which names are spread, so that neighbours do not cover each other.
const NAME_ROWS: usize = 4;

/// The width to the right of the last dot, as a part of that up to it.
const LABEL_ROOM: f64 = 0.25;

const GREY: RGBColor = RGBColor(110, 110, 110);

/// A chart that could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the chart cannot be drawn: {0}")]
pub struct ChartError(String);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Context<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<LogCoord<f64>, LogCoord<f64>>>;

/// Draws a plan as an SVG document, with a title and a description for those who do not see it.
pub fn chart(plan: &Plan<'_>) -> Result<String, ChartError> {
    let mut svg = String::new();
    draw(plan, &SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())
        .map_err(|error| ChartError(error.to_string()))?;
    Ok(described(&svg, plan))
}

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008).
fn colour(window: Window) -> RGBColor {
    match window {
        Window::Hour => RGBColor(213, 94, 0),
        Window::Day => RGBColor(0, 114, 178),
        Window::Week => RGBColor(0, 158, 115),
    }
}

/// The relative error of a campaign of so many conversions a week.
#[expect(clippy::cast_precision_loss, reason = "display: pixels need few bits")]
fn error(choice: &Choice, per_week: f64) -> f64 {
    choice.counts.half_width as f64 * choice.window.in_epoch() as f64 / per_week
}

/// From how many conversions a week on a campaign is shown.
#[expect(clippy::cast_precision_loss, reason = "display: pixels need few bits")]
fn visible_from(choice: &Choice) -> f64 {
    choice.in_a_week(choice.smallest_visible.max(1)) as f64
}

/// Sizes and errors that the chart shows.
fn ranges(plan: &Plan<'_>) -> (Range<f64>, Range<f64>) {
    let sizes = plan.setting.campaigns.iter().map(|campaign| expected(campaign.per_week, EPOCH_SECONDS));
    let sizes = sizes.chain(plan.choices.iter().map(visible_from)).filter(|size| *size >= 1.0);
    let (low, high) =
        sizes.fold((f64::INFINITY, 1.0_f64), |(low, high), size| (low.min(size), high.max(size)));
    let start = (low.min(high) / 2.0).max(0.5);
    // Dots lie near the line of what is useful, whose label is at its right end: a fifth of the width is kept free for it.
    let last_dot = plan.choices.iter().map(visible_from).fold(start, f64::max);
    let sizes = start..(high * 2.0).max(last_dot * (last_dot / start).powf(LABEL_ROOM));
    let least = plan.choices.iter().map(|choice| error(choice, sizes.end)).fold(ERROR_MAX / 100.0, f64::min);
    (sizes, (least / 2.0).max(ERROR_MIN)..ERROR_MAX)
}

fn draw(plan: &Plan<'_>, root: &Area<'_>) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    root.fill(&WHITE)?;
    let (sizes, errors) = ranges(plan);
    let mut chart = ChartBuilder::on(root)
        .margin(16)
        .caption("How precise each window's numbers will be", ("sans-serif", 24))
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(sizes.clone().log_scale(), errors.clone().log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("conversions of a campaign in a week (dashed: too few to be shown; dot: the fewest that are)")
        .y_desc("95% half-width, part of the number")
        .x_label_formatter(&|size| grouped(*size))
        .y_label_formatter(&|error| percent(*error))
        .label_style(("sans-serif", 15))
        .draw()?;
    draw_useful(&mut chart, plan, &sizes)?;
    draw_campaigns(&mut chart, plan, &errors)?;
    for choice in &plan.choices {
        draw_window(&mut chart, choice, &sizes, &errors)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(GREY)
        .label_font(("sans-serif", 15))
        .draw()?;
    root.present()
}

/// A line that is dashed where campaigns are too small to be shown, and a dot where it begins to be whole.
fn draw_window(
    chart: &mut Context<'_>,
    choice: &Choice,
    sizes: &Range<f64>,
    errors: &Range<f64>,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let colour = colour(choice.window);
    let visible = visible_from(choice);
    // Where the line enters and leaves the chart: it falls as 1 / size.
    let enters = (error(choice, 1.0) / errors.end).max(sizes.start);
    let leaves = (error(choice, 1.0) / errors.start).min(sizes.end);
    let point = |size: f64| (size, error(choice, size));
    if enters < visible.min(leaves) {
        let hidden = [point(enters), point(visible.min(leaves))];
        chart.draw_series(DashedLineSeries::new(hidden, 6, 6, colour.stroke_width(1)))?;
    }
    let shown = [point(visible.max(enters).min(leaves)), point(leaves)];
    let released = if choice.budget.is_whole() {
        String::new()
    } else {
        format!(" (the budget carries {})", released(choice))
    };
    chart
        .draw_series(LineSeries::new(shown, colour.stroke_width(3)))?
        .label(format!("{}{released}", choice.window.name()))
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3)));
    if (enters..=leaves).contains(&visible) {
        chart.draw_series([Circle::new(point(visible), 6, colour.filled())])?;
        // Named where it is, too: not everybody tells the colours apart.
        let style = ("sans-serif", 16).into_font().color(&colour).pos(Pos::new(HPos::Left, VPos::Bottom));
        let label = EmptyElement::at(point(visible)) + Text::new(choice.window.name(), (8, -4), style);
        chart.draw_series([label])?;
    }
    Ok(())
}

fn draw_useful(
    chart: &mut Context<'_>,
    plan: &Plan<'_>,
    sizes: &Range<f64>,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let useful = plan.setting.useful_error();
    let line = [(sizes.start, useful.get()), (sizes.end, useful.get())];
    chart.draw_series([PathElement::new(line, GREY.stroke_width(2))])?;
    let what = if plan.setting.target.is_some() { "target" } else { "useful up to" };
    let style = ("sans-serif", 15).into_font().color(&GREY).pos(Pos::new(HPos::Right, VPos::Bottom));
    chart.draw_series([Text::new(format!("{what} {useful}"), line[1], style)])?;
    Ok(())
}

fn draw_campaigns(
    chart: &mut Context<'_>,
    plan: &Plan<'_>,
    errors: &Range<f64>,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let mut campaigns: Vec<(f64, String)> = plan
        .setting
        .campaigns
        .iter()
        .map(|campaign| (expected(campaign.per_week, EPOCH_SECONDS), xml(&short(&campaign.name))))
        .filter(|(size, _)| *size >= 1.0)
        .collect();
    campaigns.sort_by(|left, right| left.0.total_cmp(&right.0));
    let named = campaigns.len() <= NAMES_MAX;
    for (index, (size, name)) in campaigns.into_iter().enumerate() {
        let line = [(size, errors.start), (size, errors.end)];
        chart.draw_series(DashedLineSeries::new(line, 2, 4, GREY.stroke_width(1)))?;
        if named {
            let style = ("sans-serif", 14).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Top));
            let below = i32::try_from(index % NAME_ROWS).unwrap_or(0) * 17 + 2;
            let label = EmptyElement::at((size, errors.end)) + Text::new(name, (4, below), style);
            chart.draw_series([label])?;
        }
    }
    Ok(())
}

/// Adds what a screen reader reads.
fn described(svg: &str, plan: &Plan<'_>) -> String {
    let mut text = String::new();
    for choice in &plan.choices {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "Windows of {}: campaigns are shown from {} conversions a week on, with an error of {} there; the budget \
             carries {} windows. ",
            choice.window.one(),
            choice.in_a_week(choice.smallest_visible),
            percent(error(choice, visible_from(choice))),
            released(choice),
        );
    }
    let _ = write!(
        text,
        "Lines are dashed where campaigns are too small to be shown; a dot marks the smallest that is shown with a \
         chance of 95%."
    );
    let titled = "<svg role=\"img\" aria-labelledby=\"plan-title plan-description\" ";
    let svg = svg.replacen("<svg ", titled, 1);
    let (head, rest) = svg.split_once('>').unwrap_or((&svg, ""));
    format!(
        "{head}>\n<title id=\"plan-title\">How precise each window's numbers will be</title>\n\
         <desc id=\"plan-description\">{text}</desc>{rest}"
    )
}

/// Without the characters that no XML document may hold; the drawing library escapes the others.
fn xml(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '\u{fffe}' | '\u{ffff}')).collect()
}

/// A number with its thousands apart.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
