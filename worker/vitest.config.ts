import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [
    cloudflareTest({
      wrangler: { configPath: "./test/wrangler.jsonc" },
      miniflare: {
        bindings: { TOWND_TOKEN: "of-the-tests", CONTAINER_SECRET: "of-the-tests-too", GITHUB_WEBHOOK_SECRET: "of-github" },
      },
    }),
  ],
  test: { include: ["test/*.test.ts"], testTimeout: 60_000 }, // says nothing about how fast it should be
});
