//! A series over time as a picture: points with their intervals, windows whose number is too small to be shown, windows without
//! a release. The three look different in shape, not in colour alone, and a table below says the same.
//!
//! plotters writes colours as attributes; each is one of a few that stand for a class of the style sheet, which puts in the
//! scheme's own. A picture is drawn twice, for wide and for narrow pages, since the letters of a picture that is made smaller
//! cannot be read.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::layout::{Nav, fixed};
use super::measures::TOO_FEW;
use super::parts::{Column, Table};
use crate::text::counted;

/// What a window shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A noised number and its interval.
    Shown {
        /// The interval's lower end.
        low: f64,
        /// The number.
        estimate: f64,
        /// The interval's upper end.
        high: f64,
    },
    /// Too few to be shown.
    Suppressed,
    /// There is no number.
    Missing,
}

/// A window of a series.
#[derive(Clone, Debug)]
pub struct Point {
    /// Below the axis: `3 Nov`.
    pub short: String,
    /// In the table: `3 Nov 2026`.
    pub full: String,
    /// What is drawn.
    pub mark: Mark,
    /// The number in words, or why there is none.
    pub words: String,
    /// The interval in words; empty where there is none.
    pub interval: String,
}

/// A series over time.
pub struct Series<'a> {
    /// Tells its elements' ids from those of other pictures on the page.
    pub id: &'a str,
    /// What it shows, as a title.
    pub title: &'a str,
    /// The windows, in order.
    pub points: &'a [Point],
    /// Writes a number at the axis.
    pub write: &'a dyn Fn(f64) -> String,
}

/// Sizes of a picture: for wide pages, and for phones.
struct Size {
    class: &'static str,
    width: u32,
    height: u32,
    left: u32,
    /// Labels below the axis that fit without touching.
    labels: usize,
}

const SIZES: [Size; 2] = [
    Size { class: "wide", width: 960, height: 280, left: 64, labels: 12 },
    Size { class: "narrow", width: 360, height: 250, left: 56, labels: 4 },
];

/// Height of what stands below the axis, and size of letters, in pixels.
const BELOW: u32 = 30;
const LETTERS: u32 = 16;

/// Pixels from which on a run of windows has room for words.
const WORDS_WIDTH: i32 = 110;

/// Stand-ins: each becomes a class, see [`dressed`].
const INK: RGBColor = RGBColor(1, 2, 1);
const LINE: RGBColor = RGBColor(1, 2, 2);
const AXIS: RGBColor = RGBColor(1, 2, 3);
const PATH: RGBColor = RGBColor(1, 2, 4);
const POINT: RGBColor = RGBColor(1, 2, 5);
const REACH: RGBColor = RGBColor(1, 2, 6);
const BAND: RGBColor = RGBColor(1, 2, 7);
const HATCH: RGBColor = RGBColor(1, 2, 8);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Context<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The pictures, what their marks mean, and the table behind them.
pub fn figure(series: &Series<'_>) -> Markup {
    let pictures = SIZES.iter().filter_map(|size| picture(series, size).ok());
    html! {
        figure class="figure" {
            @for picture in pictures { (PreEscaped(picture)) }
            figcaption { (legend(series)) }
            details {
                summary { "The same as a table" }
                (table(series))
            }
        }
    }
}

fn table(series: &Series<'_>) -> Table {
    let columns = vec![Column::text("Window"), Column::number("Number"), Column::number("95% interval")];
    let mut table = Table::new(series.title, columns).unseen_caption();
    for point in series.points {
        let interval = if point.interval.is_empty() { "\u{2013}" } else { &point.interval };
        table.row(vec![html! { (point.full) }, html! { (point.words) }, html! { (interval) }]);
    }
    table
}

fn legend(series: &Series<'_>) -> Markup {
    let has = |wanted: fn(&Mark) -> bool| series.points.iter().any(|point| wanted(&point.mark));
    html! {
        ul class="legend" {
            @if has(|mark| matches!(mark, Mark::Shown { .. })) {
                li {
                    (swatch(r#"<path class="c-reach" stroke-width="2" d="M9 1v14"/><circle class="c-point" cx="9" cy="8" r="3.5"/>"#))
                    "number with its 95% interval"
                }
            }
            @if has(|mark| *mark == Mark::Suppressed) {
                li {
                    (swatch(r#"<path class="c-hatch" d="M1 15 15 1M-3 11 7 1M7 17 19 5"/>"#))
                    (TOO_FEW) ": not 0, but too close to the noise"
                    @if has(|mark| matches!(mark, Mark::Shown { .. })) {
                        "; "
                        a href=(format!("{}#too-few", Nav::Help.path())) { "the others tend to be too high" }
                    }
                }
            }
            @if has(|mark| *mark == Mark::Missing) {
                li { (swatch(r#"<rect class="c-band" width="18" height="16"/><path class="c-axis" stroke-dasharray="3 2" d="M0 15.5h18"/>"#)) "no number" }
            }
        }
    }
}

fn swatch(shapes: &'static str) -> Markup {
    html! { svg viewBox="0 0 18 16" aria-hidden="true" focusable="false" { (fixed(shapes)) } }
}

/// One picture as SVG.
fn picture(series: &Series<'_>, size: &Size) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
    let mut svg = String::new();
    draw(series, size, &SVGBackend::with_string(&mut svg, (size.width, size.height)).into_drawing_area())?;
    Ok(described(&dressed(&svg, series.id, size), series, size))
}

#[expect(clippy::cast_precision_loss, reason = "display: a place among some hundred")]
fn place(index: usize) -> f64 {
    index as f64
}

/// From 0 to a little above the highest interval.
fn reach(points: &[Point]) -> Range<f64> {
    let high = points.iter().filter_map(|point| match point.mark {
        Mark::Shown { high, .. } => Some(high),
        _ => None,
    });
    let high = high.filter(|high| high.is_finite()).fold(0.0, f64::max);
    0.0..if high > 0.0 { high * 1.08 } else { 10.0 }
}

fn draw(series: &Series<'_>, size: &Size, root: &Area<'_>) -> Drawn {
    let (points, values) = (series.points, reach(series.points));
    // Where nothing is shown there is no scale: numbers at the axis would be made up.
    let any = points.iter().any(|point| matches!(point.mark, Mark::Shown { .. }));
    let last = place(points.len().max(1)) - 0.5;
    let mut chart = ChartBuilder::on(root)
        .margin_top(12)
        .margin_right(10)
        .set_label_area_size(LabelAreaPosition::Bottom, BELOW)
        .set_label_area_size(LabelAreaPosition::Left, size.left)
        .build_cartesian_2d(-0.5..last, values.clone())?;
    draw_bands(&mut chart, points, values.end)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .x_labels(0)
        .y_labels(if any { 5 } else { 0 })
        .light_line_style(TRANSPARENT)
        .bold_line_style(LINE)
        .axis_style(TRANSPARENT)
        .y_label_formatter(&|value| (series.write)(*value))
        .label_style(("sans-serif", LETTERS).into_font().color(&INK))
        .draw()?;
    chart.draw_series([PathElement::new([(-0.5, 0.0), (last, 0.0)], AXIS.stroke_width(1))])?;
    draw_days(&chart, root, points, size)?;
    draw_points(&mut chart, points, size)?;
    root.present()
}

/// Windows without a shown number, run by run: hatched where there are too few, plain where there is nothing.
fn draw_bands(chart: &mut Context<'_>, points: &[Point], top: f64) -> Drawn {
    let mut from = 0;
    for run in points.chunk_by(|left, right| kind(&left.mark) == kind(&right.mark)) {
        let until = from + run.len();
        let corners = [(place(from) - 0.5, 0.0), (place(until) - 0.5, top)];
        let (colour, words) = match run.first().map(|point| &point.mark) {
            Some(Mark::Suppressed) => (HATCH, TOO_FEW),
            Some(Mark::Missing) => (BAND, "no number"),
            _ => {
                from = until;
                continue;
            }
        };
        chart.draw_series([Rectangle::new(corners, colour.filled())])?;
        let (left, right) = (chart.backend_coord(&corners[0]).0, chart.backend_coord(&corners[1]).0);
        if right - left >= WORDS_WIDTH {
            let centre = (f64::midpoint(corners[0].0, corners[1].0), top / 2.0);
            let style =
                ("sans-serif", LETTERS).into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Center));
            let around = EmptyElement::at(centre)
                + Rectangle::new([(-56, -11), (56, 11)], BAND.filled())
                + Text::new(words, (0, 0), style);
            chart.draw_series([around])?;
        }
        from = until;
    }
    Ok(())
}

fn kind(mark: &Mark) -> u8 {
    match mark {
        Mark::Shown { .. } => 0,
        Mark::Suppressed => 1,
        Mark::Missing => 2,
    }
}

/// Names some of the windows below the axis, from the last one back.
fn draw_days(chart: &Context<'_>, root: &Area<'_>, points: &[Point], size: &Size) -> Drawn {
    let step = points.len().div_ceil(size.labels).max(1);
    for (index, point) in points.iter().enumerate().rev().step_by(step) {
        let (x, y) = chart.backend_coord(&(place(index), 0.0));
        // One at the edge would be cut off.
        let at_edge = index + 1 == points.len() && points.len() > 1;
        let side = if at_edge { HPos::Right } else { HPos::Center };
        let x = if at_edge { chart.backend_coord(&(place(index) + 0.5, 0.0)).0 } else { x };
        let style = ("sans-serif", LETTERS).into_font().color(&INK).pos(Pos::new(side, VPos::Top));
        root.draw(&Text::new(point.short.as_str(), (x, y + 8), style))?;
    }
    Ok(())
}

/// Lines between neighbours, then intervals, then points, so that nothing covers a point.
fn draw_points(chart: &mut Context<'_>, points: &[Point], size: &Size) -> Drawn {
    let shown = points.iter().enumerate().filter_map(|(index, point)| match point.mark {
        Mark::Shown { low, estimate, high } => Some((index, low, estimate, high)),
        _ => None,
    });
    let shown: Vec<_> = shown.collect();
    for run in shown.chunk_by(|left, right| left.0 + 1 == right.0).filter(|run| run.len() > 1) {
        let line = run.iter().map(|(index, _, estimate, _)| (place(*index), *estimate));
        chart.draw_series(LineSeries::new(line, PATH.stroke_width(2)))?;
    }
    let crowded = points.len() > usize::try_from(size.width / 12).unwrap_or(usize::MAX);
    let (radius, width) = if crowded { (2, 1) } else { (4, 2) };
    for (index, low, estimate, high) in shown {
        let x = place(index);
        let whisker = PathElement::new([(x, low), (x, high)], REACH.stroke_width(width));
        chart.draw_series([whisker])?;
        chart.draw_series([Circle::new((x, estimate), radius, POINT.filled())])?;
    }
    Ok(())
}

/// Puts classes in place of the colours that stand for them, and the hatching in place of its own.
fn dressed(svg: &str, id: &str, size: &Size) -> String {
    let classes = [
        (INK, "c-ink"),
        (LINE, "c-line"),
        (AXIS, "c-axis"),
        (PATH, "c-path"),
        (POINT, "c-point"),
        (REACH, "c-reach"),
        (BAND, "c-band"),
    ];
    let mut svg = svg.to_owned();
    for (RGBColor(red, green, blue), class) in classes {
        for attribute in ["fill", "stroke"] {
            let colour = format!("{attribute}=\"#{red:02X}{green:02X}{blue:02X}\"");
            svg = svg.replace(&colour, &format!("class=\"{class}\""));
        }
    }
    let hatch = format!("fill=\"#{:02X}{:02X}{:02X}\"", HATCH.0, HATCH.1, HATCH.2);
    // Where a class says how clear something is, the attribute would not be heard; elsewhere it says nothing.
    svg.replace(&hatch, &format!("fill=\"url(#{id}-{}-hatch)\"", size.class)).replace(" opacity=\"1\"", "")
}

/// Adds what a screen reader reads, and the hatching.
fn described(svg: &str, series: &Series<'_>, size: &Size) -> String {
    let name = format!("{}-{}", series.id, size.class);
    let (_, rest) = svg.split_once('>').unwrap_or_default();
    let head = html! {
        title id=(format!("{name}-title")) { (series.title) }
        desc id=(format!("{name}-desc")) { (description(series)) }
    };
    format!(
        "<svg class=\"chart {}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{name}-title {name}-desc\">{}\
         <defs><pattern id=\"{name}-hatch\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">\
         <path class=\"c-hatch\" d=\"M-2 10 10 -2M-2 2 2 -2M6 10 10 6\" opacity=\"0.5\"/></pattern></defs>{rest}",
        size.class,
        size.width,
        size.height,
        head.into_string()
    )
}

fn description(series: &Series<'_>) -> String {
    let of = |wanted: fn(&Mark) -> bool| series.points.iter().filter(|point| wanted(&point.mark)).count();
    let (few, none) = (of(|mark| *mark == Mark::Suppressed), of(|mark| *mark == Mark::Missing));
    let (Some(first), Some(last)) = (series.points.first(), series.points.last()) else {
        return "There is no window in this range.".to_owned();
    };
    let estimate = |point: &&Point| match point.mark {
        Mark::Shown { estimate, .. } => Some(estimate),
        _ => None,
    };
    let by_size = |left: &&Point, right: &&Point| {
        estimate(left).unwrap_or_default().total_cmp(&estimate(right).unwrap_or_default())
    };
    let shown = || series.points.iter().filter(|point| estimate(point).is_some());
    let numbers = match (shown().min_by(by_size), shown().max_by(by_size)) {
        (Some(least), Some(most)) => {
            format!("lowest {} on {}, highest {} on {}", least.words, least.full, most.words, most.full)
        }
        _ => "no number is shown".to_owned(),
    };
    let windows = |count: usize, how: &str| match count {
        0 => String::new(),
        count => format!("; {} {how}", counted(count, "window")),
    };
    let (few, none) = (windows(few, &format!("with {TOO_FEW}")), windows(none, "without a number"));
    format!("From {} to {}: {numbers}{few}{none}.", first.full, last.full)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn points() -> Vec<Point> {
        let mark = |index: usize| match index {
            3..=9 => Mark::Suppressed,
            12..=13 => Mark::Missing,
            _ => Mark::Shown {
                low: place(index) + 90.0,
                estimate: place(index) + 100.0,
                high: place(index) + 110.0,
            },
        };
        let point = |index| Point {
            short: format!("{index} Nov"),
            full: format!("{index} Nov 2026"),
            mark: mark(index),
            words: if kind(&mark(index)) == 0 { (index + 100).to_string() } else { "<none>".to_owned() },
            interval: String::new(),
        };
        (0..20).map(point).collect()
    }

    fn drawn(points: &[Point]) -> String {
        let write = |value: f64| format!("{value:.0}");
        figure(&Series { id: "x", title: "Conversions <by> day", points, write: &write }).into_string()
    }

    #[test]
    fn a_picture_has_classes_for_colours_and_words_for_shapes() {
        let html = drawn(&points());
        assert!(!html.contains("#0102") && !html.contains("style="), "a stand-in or a style is left");
        assert_eq!(html.matches("class=\"c-point\"").count(), 2 * 11 + 1, "points, and the legend's");
        assert_eq!(html.matches("url(#x-wide-hatch)").count(), 1, "a run is one band");
        assert_eq!(html.matches("url(#x-narrow-hatch)").count(), 1);
        assert!(html.contains("too few to show") && html.contains("no number"));
        assert!(html.contains("href=\"/console/help#too-few\""), "that chance chose those that are shown");
        assert!(html.contains("Conversions &lt;by&gt; day") && html.contains("&lt;none&gt;"));
        assert!(!html.contains("<by>") && !html.contains("<none>"));
        let told = "From 0 Nov 2026 to 19 Nov 2026: lowest 100 on 0 Nov 2026, highest 119 on 19 Nov 2026; 7 windows with \
                    too few to show; 2 windows without a number.";
        assert_eq!(html.matches(told).count(), 2);
        assert_eq!(html.matches("<tr").count(), 21, "a head and a row for each window");
    }

    #[test]
    fn nothing_is_drawn_of_a_suppressed_number() {
        let few = |mark| Point {
            short: String::new(),
            full: "1 Nov 2026".to_owned(),
            mark,
            words: "too few to show".to_owned(),
            interval: String::new(),
        };
        let html = drawn(&[few(Mark::Suppressed)]);
        assert_eq!(html.matches("c-point").count(), 0);
        assert!(html.contains("no number is shown"));
        // The axis read 0, 5, 10 beside it.
        let (_, picture) = html.split_once("<svg").unwrap();
        let (picture, _) = picture.split_once("</svg>").unwrap();
        let texts: Vec<&str> = picture
            .split("<text")
            .skip(1)
            .filter_map(|text| text.split_once('>'))
            .map(|(_, text)| text.trim_start())
            .collect();
        assert!(texts.iter().all(|text| !text.starts_with(|c: char| c.is_ascii_digit())), "{texts:?}");
        assert!(drawn(&[]).contains("There is no window in this range."));
    }
}
