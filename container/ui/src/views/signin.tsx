import { useState } from "preact/hooks";
import { Problem, useAction } from "../parts";

export function SignIn({
  town,
  problem,
  enter,
}: {
  town: string;
  problem: string;
  enter: (token: string) => Promise<void>;
}) {
  const [token, setToken] = useState("");
  const [busy, refused, run] = useAction();
  return (
    <main class="alone">
      <form
        class="panel"
        aria-label="Sign in"
        onSubmit={(e) => {
          e.preventDefault();
          run(() => enter(token.trim()));
        }}
      >
        <h1>{town}</h1>
        <label>
          The town's token
          <input
            type="password"
            name="token"
            autocomplete="current-password"
            required
            autofocus
            value={token}
            onInput={(e) => setToken(e.currentTarget.value)}
          />
        </label>
        <p class="faint">
          <code>townd token</code> prints it, where the town runs; on Cloudflare it is the secret{" "}
          <code>TOWND_TOKEN</code>. It is kept for this tab only.
        </p>
        <button type="submit" class="primary" disabled={busy || !token.trim()}>
          Sign in
        </button>
        <Problem text={refused || problem} />
      </form>
    </main>
  );
}
