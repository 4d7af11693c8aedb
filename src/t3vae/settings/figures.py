"""Catalogue of figures: code, what each can show, the tables that it reads, its caption."""

from __future__ import annotations

from t3vae.settings.catalogue import Figure

__all__ = ["FIGURES"]

_CODE = "t3vae.figures"
FIGURES: dict[str, Figure] = {
    "density": Figure(
        f"{_CODE}.density_panels:density",
        "numbers",
        ("densities.csv",),
        "Densities of generated data (lines: mean over seeds; bands: smallest to largest "
        "seed) against the true density (grey). One panel a model; the colour says from which "
        "latent distribution the decoder's input was drawn: the model's own prior, the "
        "alternative prior p* that the gamma-power objective implies, or a t mixture fitted "
        "to the aggregate posterior after training. Models without a p* of their own have no "
        "such curve.",
        columns=(1,),
    ),
    "density_log": Figure(
        f"{_CODE}.density_panels:density_log",
        "numbers",
        ("densities_log.csv",),
        "The same densities on a logarithmic axis, from the millionth to the last millionth "
        "of the true distribution. A line that leaves the grey area above has too much mass "
        "in the tails, one that leaves it below too little; a line ends where fewer than five "
        "samples fell into a bin.",
        columns=(1,),
    ),
    "heatmaps": Figure(
        f"{_CODE}.heatmaps:heatmaps",
        "numbers",
        ("heatmaps.csv",),
        "Bivariate densities (decadic logarithm, one colour scale): the true distribution "
        "above, then one row a model and one column a latent distribution. Each is a "
        "histogram of generated data, averaged over seeds; cells without a draw are white. "
        "Models without a p* of their own have no panel in its column.",
        columns=(2,),
    ),
    "survival": Figure(
        f"{_CODE}.tails:survival",
        "numbers",
        ("survival.csv",),
        "Probability of exceeding a value, on log-log axes, where a power law is a straight "
        "line. One row a latent distribution, all models in each panel: hue and marker say the "
        "family, lightness and line its member, from dark to light with its parameter. The "
        "black dotted line is the true distribution; the grey band is where 95 % of samples of "
        "the same size from the true distribution would lie, point by point. Lines are means "
        "over seeds and end where fewer than five samples remain.",
    ),
    "tail_qq": Figure(
        f"{_CODE}.tails:tail_qq",
        "numbers",
        ("quantiles.csv",),
        "Quantiles of generated data against true quantiles in the tails, from the tenth to the "
        "hundred-thousandth of the mass, on log-log axes. Hue and marker say the family, "
        "lightness and line its member. The black dotted diagonal is a perfect model; the grey "
        "band is the 95 % sampling band of the order statistics of a true sample of the same "
        "size. Lines are means over seeds.",
    ),
    "samples": Figure(
        f"{_CODE}.image_grids:samples",
        "images",
        ("samples.csv",),
        "Generated images, decoder means, of the first seed. Left: latent samples from the "
        "distribution that the model itself generates from (its alternative prior p* where it "
        "has one, else its prior). Right: latent samples from the t mixture fitted to the "
        "aggregate posterior. Columns are groups of classes by number of training images; "
        "conditional models were asked for the class, samples of the others are sorted by a "
        "classifier of real data, so an empty place says that a model drew no such image.",
    ),
    "reconstructions": Figure(
        f"{_CODE}.image_grids:reconstructions",
        "images",
        ("reconstructions.csv",),
        "Test images (first row) and their reconstructions by each model, first seed, one "
        "latent draw an image. Columns are groups of classes by number of training images "
        "(for faces: the rarest attributes); all models get the same images.",
    ),
    "metrics": Figure(
        f"{_CODE}.metric_panel:metrics",
        "any",
        ("metrics.csv",),
        "Headline metrics: means over seeds with 95 % intervals (Student's t over seeds). The "
        "colour says from which latent distribution the decoder's input was drawn. The dotted "
        "line is the value of the true distribution, where it has one. Axes are logarithmic "
        "where the values span decades; intervals may go beyond the panel. A hollow marker: "
        "from fewer images than twice the number of features, which makes a Fréchet distance "
        "too large. A dash stands for values that do not exist, such as the class that an "
        "unconditional model was asked for.",
    ),
    "paired": Figure(
        f"{_CODE}.paired:paired",
        "images",
        ("paired.csv",),
        "Paired differences to the controls: each model minus the control that stands above "
        'it ("− control:"), on common seeds, with 95 % intervals (Student\'s t over seeds), '
        "for each latent distribution and for reconstructions. The matched controls are "
        'β-VAEs with the weight v* of the t³VAE; "scaled" ones also share its latent scale. '
        "The dotted line is no difference. Intervals may go beyond the panel. A hollow "
        "marker: from fewer images than twice the number of features. Metrics fill a page in "
        "their usual order; further ones are in paired.csv.",
    ),
    "per_class": Figure(
        f"{_CODE}.class_heatmaps:per_class",
        "images",
        ("per_class.csv",),
        "Metrics of single classes, a row a model and a column a class, from many to few "
        "training images: means over seeds, each panel with a colour scale of its own, "
        "logarithmic where values span more than a factor of four (intervals are in "
        "per_class.csv). Test images are balanced, so what gets worse to the right is what "
        "the long tail costs. Error and Fréchet distance (features of the classifier of real "
        "data): lower is better; F1: higher; share of generated images: equal shares are "
        "right for balanced classes. For unconditional models a generated image counts for "
        "the class that the classifier sees. Grey: no value, since the model drew too few "
        "such images or was asked for no class. †: with values from fewer images than twice "
        "the number of features, which makes Fréchet distances too large.",
        needs="labelled",
    ),
    "class_curves": Figure(
        f"{_CODE}.class_curves:class_curves",
        "images",
        ("per_class.csv", "paired.csv"),
        "Metrics of single classes against the number of training images of the class, from "
        "many to few: a column a model (thick; bars: 95 % intervals over seeds, Student's t) "
        "beside its controls (thin; bands: the same intervals), each with the colour, marker "
        "and line of its model in every column. Shown are the models with the most controls, at "
        "most six, the first ones where some have equally many; all models are in the heat map "
        "and in per_class.csv. The panels of a row share their scale, logarithmic where means "
        "span more than a factor of four; intervals may go beyond the panel. Classes with "
        "equally many training images make one point; of more than twelve sizes ten points "
        "remain, each the mean over neighbouring classes with the mean of their intervals, "
        "which is no shorter than the interval of the mean. No point where a class has no "
        "value. A model helps the tail where its curve leaves the controls' to the right. Error "
        "and Fréchet distance (features of the classifier of real data): lower is better; F1 "
        "(classes that the classifier sees in reconstructions): higher; share of images: equal "
        "shares are right for balanced classes, and the thin black line is the share in the "
        "training images. A hollow marker of the model: from fewer images than twice the number "
        "of features.",
        needs="labelled",
    ),
    "attributes": Figure(
        f"{_CODE}.class_heatmaps:attributes",
        "images",
        ("attributes.csv",),
        "Metrics of reconstructed test images that have an attribute, a row a model and a "
        "column an attribute, from common to rare (share of test images in parentheses): "
        "means over seeds, each panel with a colour scale of its own, logarithmic where "
        "values span more than a factor of four (intervals are in attributes.csv); lower is "
        "better. †: with values from fewer images than twice the number of features, which "
        "makes Fréchet distances too large.",
        needs="attributes",
    ),
    "history": Figure(
        f"{_CODE}.history:history",
        "any",
        ("history.csv",),
        "Training curves: reconstruction, regularizer and total loss, in the doubled convention "
        "of the package (two units a nat), on validation data (thick; bands: smallest to "
        "largest seed) and on training data (thin), up to the last epoch that every seed "
        "reached. Axes hold what curves settle to and most of their descent; a triangle at an "
        "edge marks where a mean leaves the axes later on, with its furthest value where there "
        "is room. Objectives differ between models and their constants depend on the degrees of "
        "freedom: compare the shape of a curve, never the heights of two. Many models have a "
        "panel each, with an axis of its own.",
    ),
    "aggregate": Figure(
        f"{_CODE}.aggregate:aggregate",
        "any",
        ("aggregate.csv", "latent_mismatch.csv"),
        "What decides: the aggregate posterior (grey: one encoding of every training point) "
        "against each latent distribution, in latent space on a logarithmic axis, for the "
        "first seed of each model. Numbers are the Kolmogorov-Smirnov distances between "
        "distribution and aggregate posterior, means over seeds, in the colour of the "
        "distribution. The decoder has learned to map the grey area to the data; a "
        "distribution that differs from it decodes to something else.",
    ),
    "regularizer": Figure(
        f"{_CODE}.theory:regularizer",
        "theory",
        ("regularizer.csv",),
        "The regularizer of the gamma-power objective at zero mean against the encoder's "
        "variance, for one data and one latent dimension and a decoder scale of one, with its "
        "Gaussian counterpart, twice the Kullback-Leibler divergence. Dots mark where it is "
        "zero: at the scale of the alternative prior, which small degrees of freedom make "
        "small.",
    ),
    "tau_alpha": Figure(
        f"{_CODE}.theory:tau_alpha",
        "theory",
        ("tau_alpha.csv",),
        "The scale of the alternative prior (above) and the weight of the divergence to it "
        "(below) against the degrees of freedom in excess of two, for several data dimensions "
        "n, one latent dimension, a decoder scale of one. Both tend to one in the Gaussian "
        "limit; the larger n, the later.",
    ),
    "high_dimension": Figure(
        f"{_CODE}.theory:high_dimension",
        "theory",
        ("high_dimension.csv",),
        "High dimension: squared scale and variance of the alternative prior, and the weight "
        "of the divergence, against the data dimension n, for a decoder scale of one. All "
        "tend to the same limit 1/(2πeσ²), whatever the degrees of freedom: with many pixels "
        "the model is a beta-VAE with beta near 0.0586.",
    ),
}
"""Figures of this package, by name."""
