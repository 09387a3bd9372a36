# ruff: noqa: E501
"""The pages of a run and of two runs, as templates: everything that they show is escaped.

They load nothing from anywhere but their own folder: the content security policy allows pictures inside the page, films
beside it, and no script.
"""

from __future__ import annotations

FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; media-src 'self' file:; style-src 'unsafe-inline'">
<title>SportSkills: {{ title }}</title>
<style>
:root{--ink:#1a1a1a;--soft:#5a5a5a;--line:#d9d9d9;--tint:#f4f6f8}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif;color:var(--ink);margin:0 auto;max-width:1080px;padding:0 20px 60px}
h1{font-size:1.6em;margin:1.2em 0 .2em}h2{font-size:1.2em;margin:2.2em 0 .5em;border-bottom:1px solid var(--line);padding-bottom:.2em}
h3{font-size:1em;margin:1.2em 0 .4em}p{max-width:52em}
.lead{font-size:1.08em;background:var(--tint);border-left:4px solid #0072B2;padding:.7em 1em;margin:1em 0;max-width:54em}
.warn{border-left-color:#D55E00}.warn ul{margin:.2em 0;padding-left:1.2em}
nav{font-size:.92em;color:var(--soft);margin:.3em 0 1em;display:flex;flex-wrap:wrap;gap:.1em 1em}
a{color:#0060a0}figure.plot{margin:1em 0}figure.plot img{max-width:100%;height:auto}
figure.plot figcaption{color:var(--soft);font-size:.9em;max-width:60em}
.scroll{overflow-x:auto;margin:.6em 0}
table{border-collapse:collapse;font-size:.85em;font-variant-numeric:tabular-nums}
th,td{padding:.18em .7em;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{font-weight:600;border-bottom:1px solid #777}
td.text,th.text{text-align:left}td.long{white-space:normal;max-width:34em;min-width:14em;overflow-wrap:anywhere}
tr.total td{font-weight:600;border-top:1px solid #777}.fail{color:#b03a00;font-weight:600}.soft{color:var(--soft)}
details{margin:.6em 0}summary{cursor:pointer;color:#0060a0}
.films{display:flex;gap:10px;flex-wrap:wrap;margin:.3em 0 .8em}
.films figure{margin:0;width:168px}.films video,.films img{display:block;width:160px;border:4px solid;border-radius:4px;background:#ddd}
.films video:not(:hover):not(:focus)::-webkit-media-controls{display:none!important}
.films figcaption{font-size:11px;line-height:1.3;margin-top:2px;overflow-wrap:anywhere}.case q{font-weight:600;overflow-wrap:anywhere}
.case h4{margin:.8em 0 .2em;font-size:.95em}.system{font-size:.85em;font-weight:600;margin:.2em 0}
</style></head><body><main>
{% macro show(table, limit=60) %}{% if table.rows %}<div class="scroll" tabindex="0" role="region" aria-label="a table"><table><thead><tr>
{%- for name, text in table.columns %}<th scope="col"{% if text %} class="text"{% endif %}>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{%- for row in table.rows[:limit] %}<tr{% if row[0] == 'mean' %} class="total"{% endif %}>
{%- for cell in row %}<td{% if table.columns[loop.index0][1] %} class="text{{ ' long' if cell|length > 40 }}"{% endif %}>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% if table.rows|length > limit %}<p class="soft">{{ table.rows|length - limit }} more rows are in the table's file.</p>{% endif %}
{% else %}<p class="soft">No rows.</p>{% endif %}{% endmacro %}
{% macro plot(figure) %}{% if figure %}<figure class="plot"><img src="{{ figure.data }}" alt="{{ figure.alt }}"
 style="width:{{ figure.width_px }}px"><figcaption>{{ figure.caption }}{% if figure.files %} <span class="soft">Files:
{% for name, place in figure.files %}<a href="{{ place }}">{{ name }}</a>{{ ", " if not loop.last else "." }}{% endfor %}</span>{% endif %}</figcaption></figure>{% endif %}{% endmacro %}
{% macro film(one) %}<figure>{% if one.file %}<video aria-label="{{ one.label }}: {{ one.origin }}" controls muted loop playsinline preload="none" src="previews/{{ one.file }}"{% if one.still %} poster="{{ one.still }}"{% endif %} style="border-color:{{ one.colour }}"></video>
{% elif one.still %}<img src="{{ one.still }}" alt="{{ one.label }}: {{ one.origin }}" style="border-color:{{ one.colour }}">{% endif %}
<figcaption><b>{{ one.label }}</b>{% if one.said %}<br><bdi>{{ one.said }}</bdi>{% endif %}<br><span class="soft"><bdi>{{ one.origin }}</bdi>{% if one.reason %}<br>no film: {{ one.reason }}{% endif %}</span></figcaption></figure>{% endmacro %}
{% macro cases(blocks) %}{% for block in blocks %}<div class="case"><h4><bdi>{{ block.head }}</bdi></h4><p><q><bdi>{{ block.text }}</bdi></q></p>
{% for row in block.rows %}{% if row.name %}<p class="system"><bdi>{{ row.name }}</bdi></p>{% endif %}<div class="films">{% for one in row.films %}{{ film(one) }}{% endfor %}</div>{% endfor %}</div>
{% endfor %}{% endmacro %}
{% macro head() %}<h1>SportSkills: {{ title }}</h1>
<nav>{% for name, place in links %}<a href="{{ place }}">{{ name }}</a>{% endfor %}</nav>
{% for sentence in summary %}<p class="lead">{{ sentence }}</p>{% endfor %}
{% if warnings %}<div class="lead warn"><b>Read with care</b><ul>{% for line in warnings %}<li>{{ line }}</li>{% endfor %}</ul></div>{% endif %}{% endmacro %}
"""

TEMPLATE = (
    FRAME
    + """{{ head() }}

<h2 id="recall">Per-sport recall, text to video</h2>
{% if per_sport_figures %}
{% for figure in per_sport_figures %}{{ plot(figure) }}{% endfor %}
<h3>Comparisons</h3>
<p>Paired over the same queries and the same bootstrap draws of source videos within sport.
“ci excludes zero”: the 95 % interval excludes 0 (for a ratio: 1).</p>
{{ show(tables.headline) }}
{{ plot(figures.differences) }}
<details><summary>By sport, with p and p corrected for all sports (Holm)</summary>{{ show(tables.differences, 130) }}</details>
<h3>What could have been found</h3>
{% for sentence in power_note %}<p>{{ sentence }}</p>{% endfor %}
<details><summary>By sport: detectable differences, and the videos that a claim would need</summary>{{ show(tables.power, 130) }}</details>
<h3>Ratio over sport labels, by sport</h3>
<p>In galleries of {{ gallery_size }} clips in every sport, where sports can be compared; the mean is a ratio of macro means.</p>
{{ show(tables.ratios) }}
{% else %}<p>No sport is evaluable at {{ headline_k }} in this run: each has fewer than {{ min_gallery }} test clips or no fresh query,
so there is no per-sport figure and no mean. The galleries are below, and the table across sports.</p>{% endif %}
<h3>By sport</h3>
<p>{{ recall_at_k }} of a narration's own clip among all test clips of its sport (N); n: queries; 95 % intervals. CSV and LaTeX
of this table lie beside this page.</p>
{{ show(tables.per_sport, 130) }}
<h3>Across sports</h3>
<p>All {{ n_clips }} test clips are one gallery and every query counts once. The median rank is that of the query's own
clip.</p>
{{ show(tables.across) }}
<details><summary>Median ranks, spread over seeds</summary>{{ show(tables.ranks) }}{{ show(tables.seeds) }}</details>

<h2 id="understanding">Understanding beyond retrieval</h2>
{% if tables.understanding.rows %}
<p>The encoders are frozen. A linear probe for each skill says whether a test clip is a correct demonstration, and which
mistake it shows; minimal pairs ask for the right one among narrations (or clips) of the same skill that differ in the cue
or in the execution alone; and one comment of five is the clip's own, as in ExAct.</p>
{{ plot(figures.understanding) }}
{{ show(tables.understanding) }}
<details><summary>Paired differences</summary>{{ show(tables.understanding_differences, 200) }}</details>
{% else %}<p>No test clip could be asked about in this run.</p>{% endif %}
{% if tables.kinds.rows %}<h3>By the kind of cue</h3>
<p>Clips and narrations of mistakes, split by what one has to see. Encoders that see the order of frames should gain where
timing matters.</p>
{{ plot(figures.cue_kinds) }}
{{ show(tables.kind_differences) }}
<details><summary>All means by kind of cue</summary>{{ show(tables.kinds, 200) }}</details>{% endif %}

<h2 id="retrievals">Retrievals</h2>
<p>Picked by rule: the best, typical ones, and the worst. {{ mark_note }} {{ film_note }}</p>
{{ plot(figures.filmstrips) }}
<h3>The picked queries, as films</h3>
{{ cases(query_cases) }}
<h3>Which queries moved</h3>
{{ plot(figures.rank_changes) }}
<p>The {{ tables.rank_changes.rows|length }} that moved most, of all encoders; the file has every query.</p>
{{ show(tables.rank_changes) }}

<h2 id="feedback">Feedback retrieval: which clip helps this learner?</h2>
{% if tables.feedback_retrieval.rows %}
<p>{{ rater_note }}</p>
{{ plot(figures.feedback) }}
{{ show(tables.feedback_retrieval) }}
<h3>Paired differences</h3><p>p of a randomisation over participants; p holm: corrected for the comparisons of one metric.</p>
{{ show(tables.feedback_differences) }}
<h3>Share of what the oracle reaches, who reads the expert's comment</h3>{{ show(tables.oracle_shares) }}
<h3>Wins, learner by learner, by the mean grade of the first k clips</h3>{{ show(tables.feedback_wins) }}
<h3>Two stages over the whole library</h3>{{ show(tables.library_retrieval) }}
{{ plot(figures.shortlist_depth) }}
<h3>Learners, picked by rule: two good ones, a typical one, a failure</h3>
<p>{{ film_note }}</p>
{{ plot(figures.feedback_filmstrips) }}
{{ cases(learner_cases) }}
<h3>Raters</h3>{{ show(tables.raters) }}{{ show(tables.agreement) }}{{ show(tables.feedback_by_rater) }}
{% else %}<p>{{ no_feedback }}</p>{% endif %}

<h2 id="training">Training</h2>
{% if figures.curves %}{{ plot(figures.curves) }}{% else %}<p>03 recorded no curves.</p>{% endif %}
{% for figure in stage_figures["03_encoder"] + stage_figures["04_retrieval"] %}{{ plot(figure) }}{% endfor %}

<h2 id="corpus">The corpus</h2>
{{ plot(figures.corpus) }}
{{ show(tables.corpus) }}

<h2 id="funnel">What was kept, and what was dropped</h2>
{% for figure in stage_figures["01_curation"] + stage_figures["02_pairing"] %}{{ plot(figure) }}{% endfor %}
<h3>Dropped, by stage and reason</h3>
{{ show(tables.dropped) }}

<h2 id="checks">Leak checks</h2>
{{ show(tables.leaks) }}

<h2 id="provenance">Provenance</h2>
{{ show(tables.provenance) }}
{% for name, table in configs %}<details><summary>Settings of {{ name }}</summary>{{ show(table, 200) }}</details>{% endfor %}
</main></body></html>
"""
)

COMPARISON = (
    FRAME
    + """{{ head() }}
<h2 id="differences">Recall by sport: {{ second }} minus {{ first }}</h2>
<p>{{ recall_at_k }} of a narration's own clip, text to video, {{ arm }}. Paired: the same queries, the same draws of source videos
for both runs. p: whole videos change sides (randomisation); p holm: Holm's
correction over the sports of one arm and gallery, to be read where sports are picked out after looking.</p>
{{ plot(figures.by_sport) }}
{{ show(tables.by_sport, 130) }}
<h3>Every arm, macro means</h3>
{{ plot(figures.by_arm) }}
{{ show(tables.macro, 60) }}
<details><summary>Every arm in every sport</summary>{{ show(tables.differences, 400) }}</details>

<h2 id="moved">Which queries moved</h2>
{{ plot(figures.rank_changes) }}
<p>The queries that moved most; the file has every query.</p>
{{ show(tables.moved, 40) }}

<h2 id="retrievals">Retrievals of both runs</h2>
<p>Picked by rule: the queries that rose and that fell most, from different sports as far as there are. {{ mark_note }}
{{ film_note }}</p>
{% if query_cases %}<h3>Queries that moved most, as films</h3>{% endif %}
{{ cases(query_cases) }}

<h2 id="feedback">Feedback retrieval</h2>
{% if tables.judged.rows %}<p>Paired over learners, by the same grades; p holm over the systems of one metric. One that ranks
alike in both runs is no test, and has no p.</p>{{ plot(figures.judged) }}{{ show(tables.judged) }}
{% else %}<p>Nothing to compare here: {{ no_feedback }}</p>{% endif %}

<h2 id="settings">Settings that differ</h2>
{% if tables.settings.rows %}{{ show(tables.settings, 200) }}{% else %}<p>None: the runs differ in code, seeds of the machine or inputs.</p>{% endif %}

<h2 id="funnel">What was dropped</h2>
{{ show(tables.dropped, 100) }}

<h2 id="provenance">Provenance</h2>
{% for run, table in provenance %}<h3>{{ run }}</h3>{{ show(table) }}{% endfor %}
</main></body></html>
"""
)
