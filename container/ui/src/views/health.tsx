/** How the town is: capacity, disk, reports to the coordinator, models, repositories. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Health, Quota } from "../api";
import { ago, bytes, line, minute, span } from "../format";
import { type Context, Empty, Pill, Problem, useAction, useRead } from "../parts";
import { useTown } from "../town";

export function HealthView({ at }: { at: Context }) {
  const [h, problem] = useRead(() => at.client.health(), "", 3000);
  const { status } = useTown(at.town);
  if (at.client.away)
    return (
      <Empty title={at.client.away}>
        {status?.instance && <p>It was last heard of {ago(status.instance.seenAt)}.</p>}
      </Empty>
    );
  if (!h) return problem ? <Problem text={problem} /> : <div class="skeleton tall" aria-hidden="true" />;
  const used = h.host ? h.host.diskTotalBytes - h.host.diskFreeBytes : 0;
  return (
    <section aria-label="Health">
      <div class="row">
        <h1>Health</h1>
        <Pill tone={h.status === "ok" ? "good" : h.status === "unhealthy" ? "bad" : "warn"}>{h.status}</Pill>
      </div>
      <Problem text={problem} />
      <List title="What is wrong" items={h.degraded} tone="bad" />
      <List title="What may go wrong" items={h.warnings} tone="warn" />
      {status?.paused && <List title="Paused" items={[status.paused]} tone="warn" />}
      {status?.standby && (
        <List title={`Standby until ${minute(status.standby.until)}`} items={[status.standby.why]} tone="calm" />
      )}
      <div class="gauges">
        <Gauge title="Agents" value={h.agents} of={h.maxAgents}>
          {h.agents} of {h.maxAgents}
        </Gauge>
        {h.host && (
          <>
            <Gauge title="Disk" value={used} of={h.host.diskTotalBytes}>
              {bytes(h.host.diskFreeBytes)} free
            </Gauge>
            <Gauge
              title="Memory"
              value={h.host.memoryTotalBytes - h.host.memoryAvailableBytes}
              of={h.host.memoryTotalBytes}
            >
              {bytes(h.host.memoryAvailableBytes)} free
            </Gauge>
            <Gauge title="Load" value={h.host.load[0] ?? 0} of={h.host.cpus}>
              {h.host.load.map((l) => l.toFixed(1)).join(", ")} on {h.host.cpus} cores
            </Gauge>
          </>
        )}
      </div>
      <div class="two halves">
        <dl>
          <dt>Version</dt>
          <dd>{h.version}</dd>
          <dt>Up</dt>
          <dd>{span(h.uptime)}</dd>
          <dt>Agents apart by</dt>
          <dd>{h.isolation === "uid" ? "a user of their own each" : "nothing: run as root to have that"}</dd>
          <dt>Trees ended by</dt>
          <dd>{h.killRung}</dd>
          {h.coordinator && <Coordinator c={h.coordinator} />}
        </dl>
        <div>
          <h2>Models</h2>
          {(h.providers ?? []).length === 0 && (
            <p class="faint">No provider is configured; agents that need one cannot reach a model.</p>
          )}
          <ul class="lines">
            {h.providers?.map((p) => (
              <li key={p.name}>
                {p.name} <Pill tone={p.kind ? "warn" : "good"}>{p.kind || "ok"}</Pill>{" "}
                <span class="faint">{p.message}</span>
                {p.quota && <Left q={p.quota} />}
                {p.cooling && (
                  <p class="faint words">
                    cooling down: {p.cooling.map((c) => `${line(c.model)} until ${minute(c.until)}`).join(", ")}
                  </p>
                )}
              </li>
            ))}
            {h.quotaProbe && (
              <li>
                probe <Left q={h.quotaProbe} />
              </li>
            )}
          </ul>
          {status && <Least at={at} percent={status.minQuotaPercent ?? 0} />}
          <h2>Repositories</h2>
          <ul class="lines">
            {status?.rigs.map((r) => (
              <li key={r.rigId}>
                <span class="strong">{r.rigId}</span> <span class="mono faint">{r.gitUrl}</span>{" "}
                {r.paused && <Pill tone="warn">paused</Pill>}
                <p class="faint">
                  {r.cli || "default program"}, gates:{" "}
                  {(r.gates ?? []).map((g) => g.name || g.command).join(", ") || "none"}
                </p>
              </li>
            ))}
            {h.rigs?.map((r) => (
              <li key={`prepared ${r.rigId}`}>
                {r.rigId} {r.state} <span class="faint">{r.error}</span>
              </li>
            ))}
          </ul>
        </div>
      </div>
    </section>
  );
}

/** How much of a quota must be left for agents to be started. */
function Least({ at, percent }: { at: Context; percent: number }) {
  const [busy, problem, run] = useAction();
  const [typed, setTyped] = useState<string | null>(null);
  const set = (e: Event) => {
    e.preventDefault();
    run(async () => {
      await at.client.setMinQuota(Number(typed ?? percent));
      at.town.refresh();
      setTyped(null);
    });
  };
  return (
    <form class="row" aria-label="Standby" onSubmit={set}>
      <label class="faint">
        Start no agent while less than{" "}
        <input
          class="percent"
          type="number"
          min={0}
          max={100}
          required
          value={typed ?? percent}
          onInput={(e) => setTyped(e.currentTarget.value)}
        />{" "}
        % of a quota is left{percent === 0 && " (0: whatever is left)"}
      </label>
      {typed !== null && typed !== String(percent) && (
        <button type="submit" disabled={busy}>
          Set
        </button>
      )}
      <Problem text={problem} />
    </form>
  );
}

/** What is left of a quota. */
function Left({ q }: { q: Quota }) {
  return (
    <p class="faint words">
      {Math.floor(q.percent)} % of {line(q.name)} left{q.resetAt && `, reset at ${minute(q.resetAt)}`}, seen{" "}
      {ago(q.checkedAt)}
    </p>
  );
}

function Coordinator({ c }: { c: NonNullable<Health["coordinator"]> }) {
  const { pending, dead, oldestAt } = c.outbox;
  return (
    <>
      <dt>Coordinator reached</dt>
      <dd>
        {c.reachedAt ? ago(c.reachedAt) : "not yet"}
        {c.replaced && ", another container has taken over"}
      </dd>
      <dt>Reports that wait</dt>
      <dd>
        {pending}
        {oldestAt && `, the oldest from ${ago(oldestAt)}`}
      </dd>
      <dt>Reports refused</dt>
      <dd>{dead}</dd>
    </>
  );
}

function List({ title, items, tone }: { title: string; items: string[]; tone: string }) {
  if (items.length === 0) return null;
  return (
    <section class={`box ${tone}`} aria-label={title}>
      <h2>{title}</h2>
      <ul>
        {items.map((text) => (
          <li key={text} class="words">
            {text}
          </li>
        ))}
      </ul>
    </section>
  );
}

function Gauge({
  title,
  value,
  of,
  children,
}: {
  title: string;
  value: number;
  of: number;
  children: ComponentChildren;
}) {
  return (
    <div class="gauge">
      <span class="faint">{title}</span>
      <meter aria-label={title} min={0} max={of || 1} high={of * 0.85} optimum={0} value={value} />
      <span>{children}</span>
    </div>
  );
}
