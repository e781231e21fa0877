//! A picture of where one head looks: queries down, keys across, darker where more of the weight is.

use crate::spec::Spec;
use measure::heads::Captured;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The picture cannot be drawn.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("cannot draw the attention map: {0}")]
pub struct MapError(String);

pub(crate) type Canvas<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Pixels of the map's side, about: cells are whole pixels.
const SIDE: usize = 660;
/// Room for the title above, the axis on the left and below, the legend on the right.
const TOP: i32 = 84;
const LEFT: i32 = 76;
/// Of it, left free: plotters writes the axis' name to the very edge.
const MARGIN: i32 = 14;
const BOTTOM: i32 = 64;
const RIGHT: i32 = 150;
pub(crate) const TEXT: RGBColor = RGBColor(38, 38, 51);
/// A key that the query may not see.
const UNSEEN: RGBColor = RGBColor(236, 237, 240);
/// From no weight to all of it.
pub(crate) const SCALE: [RGBColor; 6] = [
    RGBColor(255, 255, 255),
    RGBColor(254, 224, 166),
    RGBColor(250, 159, 90),
    RGBColor(214, 72, 95),
    RGBColor(124, 29, 111),
    RGBColor(35, 12, 66),
];

/// The softmax weights of the first captured query head, as SVG.
///
/// # Errors
/// None that is known: the picture is text in memory.
pub fn svg(spec: &Spec, captured: &Captured) -> Result<String, MapError> {
    let len = captured.len;
    let side = (SIDE / len).max(1) * len;
    let size = (side as i32 + LEFT + RIGHT, side as i32 + TOP + BOTTOM);
    let mut text = String::new();
    {
        let canvas = SVGBackend::with_string(&mut text, (size.0 as u32, size.1 as u32));
        let canvas = canvas.into_drawing_area();
        canvas.fill(&WHITE).map_err(failed)?;
        title(&canvas, spec, captured)?;
        let below = canvas
            .clone()
            .shrink((MARGIN, TOP), (side as i32 + LEFT - MARGIN, side as i32 + BOTTOM));
        cells(&below, &weights(spec, captured), len)?;
        legend(
            &canvas.clone().shrink((side as i32 + LEFT + 28, TOP), (RIGHT - 28, side as i32)),
            side,
        )?;
        canvas.present().map_err(failed)?;
    }
    Ok(text)
}

/// `[query, key]`: `softmax(scale * q k^T)` of the first head; `None` where the key is not visible.
fn weights(spec: &Spec, captured: &Captured) -> Vec<Vec<Option<f64>>> {
    let (heads, sight) = (captured.heads, spec.mask.sight());
    let queries = captured.q.chunks_exact(heads.q * heads.dim);
    let row = |(i, q): (usize, &[f32])| {
        let keys = captured.k.chunks_exact(heads.kv * heads.dim);
        let score = |(j, k): (usize, &[f32])| {
            let products =
                q.iter().zip(k).take(heads.dim).map(|(q, k)| f64::from(*q) * f64::from(*k));
            sight.sees(i, j).then(|| spec.scale() * products.sum::<f64>())
        };
        let scores: Vec<Option<f64>> = keys.enumerate().map(score).collect();
        let max = scores.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().flatten().map(|score| (score - max).exp()).sum();
        scores.iter().map(|score| score.map(|score| (score - max).exp() / sum)).collect()
    };
    queries.enumerate().map(row).collect()
}

fn title(canvas: &Canvas<'_>, spec: &Spec, captured: &Captured) -> Result<(), MapError> {
    let about = |key| captured.about.get(key).map_or("", String::as_str);
    let layer = about("layer").split(' ').next().unwrap_or("");
    let head = about("heads").split(['[', ',', ']']).nth(1).unwrap_or("");
    let large = ("sans-serif", 23).into_font().style(FontStyle::Bold).color(&TEXT);
    let small = ("sans-serif", 15).into_font().color(&TEXT);
    let subtitle = format!(
        "layer {layer}, head {head}; {} tokens of real text; {}; head_dim {}",
        captured.len, spec.mask, captured.heads.dim
    );
    let lines =
        [(format!("Where a head of {} looks", spec.model), 16, large), (subtitle, 50, small)];
    for (line, y, style) in lines {
        canvas.draw(&Text::new(line, (LEFT, y), style)).map_err(failed)?;
    }
    Ok(())
}

fn cells(area: &Canvas<'_>, weights: &[Vec<Option<f64>>], len: usize) -> Result<(), MapError> {
    let len = len as i32;
    let mut chart = ChartBuilder::on(area)
        .set_label_area_size(LabelAreaPosition::Left, LEFT - MARGIN)
        .set_label_area_size(LabelAreaPosition::Bottom, BOTTOM)
        .build_cartesian_2d(0..len, -len..0)
        .map_err(failed)?;
    let everywhere = Rectangle::new([(0, -len), (len, 0)], UNSEEN.filled());
    chart.draw_series([everywhere]).map_err(failed)?;
    // Query i lies between -i and -(i + 1): the first at the top, so that time runs down.
    let rows = (0..len).zip(weights);
    let row = |(i, row): (i32, &Vec<Option<f64>>)| {
        let cell = move |(j, weight): (usize, &Option<f64>)| {
            let corners = [(j as i32, -i), (j as i32 + 1, -i - 1)];
            weight.map(|weight| Rectangle::new(corners, colour(weight).filled()))
        };
        row.iter().enumerate().filter_map(cell).collect::<Vec<_>>()
    };
    chart.draw_series(rows.flat_map(row)).map_err(failed)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .axis_style(TEXT.mix(0.5))
        .label_style(("sans-serif", 13).into_font().color(&TEXT))
        .axis_desc_style(("sans-serif", 16).into_font().color(&TEXT))
        .x_desc("key: position in the text")
        .y_desc("query: position in the text")
        .y_label_formatter(&|y| (-y).to_string())
        .draw()
        .map_err(failed)
}

fn legend(area: &Canvas<'_>, side: usize) -> Result<(), MapError> {
    let side = side as i32;
    let (top, height, width) = (56, side * 3 / 5, 18);
    let style = ("sans-serif", 13).into_font().color(&TEXT);
    let text = |line: &str, (x, y)| {
        let style = style.pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(line.to_owned(), (x, y), style)).map_err(failed)
    };
    text("share of", (0, 8))?;
    text("the weight", (0, 25))?;
    for step in 0..height {
        let root = 1.0 - f64::from(step) / f64::from(height - 1);
        let line = Rectangle::new(
            [(0, top + step), (width, top + step + 1)],
            colour(root * root).filled(),
        );
        area.draw(&line).map_err(failed)?;
    }
    let border = Rectangle::new([(0, top), (width, top + height)], TEXT.mix(0.5));
    area.draw(&border).map_err(failed)?;
    for (share, label) in
        [(1.0, "1"), (0.5, "0.5"), (0.25, "0.25"), (0.1, "0.1"), (0.01, "0.01"), (0.0, "0")]
    {
        let y = top + ((1.0 - f64::sqrt(share)) * f64::from(height)).round() as i32;
        area.draw(&PathElement::new([(width, y), (width + 5, y)], TEXT.mix(0.5)))
            .map_err(failed)?;
        text(label, (width + 10, y))?;
    }
    let unseen = top + height + 28;
    let square = [(0, unseen), (width, unseen + width)];
    area.draw(&Rectangle::new(square, UNSEEN.filled())).map_err(failed)?;
    area.draw(&Rectangle::new(square, TEXT.mix(0.5))).map_err(failed)?;
    text("not visible", (width + 10, unseen + width / 2))
}

/// The colour of a weight: by its square root, so that small ones still show.
fn colour(weight: f64) -> RGBColor {
    let place = weight.clamp(0.0, 1.0).sqrt() * (SCALE.len() - 1) as f64;
    let below = (place as usize).min(SCALE.len() - 2);
    let (RGBColor(r, g, b), RGBColor(r2, g2, b2)) = (SCALE[below], SCALE[below + 1]);
    let mix = |a: u8, b: u8| {
        (f64::from(a) + (place - below as f64) * (f64::from(b) - f64::from(a))).round() as u8
    };
    RGBColor(mix(r, r2), mix(g, g2), mix(b, b2))
}

fn failed(error: impl std::fmt::Display) -> MapError {
    MapError(error.to_string())
}
