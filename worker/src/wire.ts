// made from api/openapi.yaml by npm run generate

export interface paths {
    "/agents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Every agent that is not forgotten */
        get: operations["listAgents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Forget an agent that has ended
         * @description Its work is saved as a checkpoint first, then its worktree is removed.
         */
        delete: operations["deleteAgent"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/diff": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        /** What an agent changed in its worktree, committed or not */
        get: operations["diff"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        /**
         * What an agent did, in one vocabulary for every CLI
         * @description With `Accept: text/event-stream` as server-sent events that go on: `id` is `<epoch>:<id>`, `event` the
         *     type, `data` the whole event, and a comment comes every 15 seconds. `Last-Event-ID` goes before `after`.
         *     A cursor of another epoch begins at the first event held. A `gap` event says that
         *     earlier ones are no longer held.
         */
        get: operations["events"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/message": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Say something to an agent */
        post: operations["messageAgent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/model": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change the model of an agent
         * @description From the next turn on, in the same session; a turn under way is not disturbed. An agent that has ended, or
         *     that is a mere terminal program, is refused with 409.
         */
        patch: operations["setModel"];
        trace?: never;
    };
    "/agents/{id}/resize": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Size an agent's terminal */
        post: operations["resizeAgent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/screen": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        /** An agent's screen as a person would see it */
        get: operations["screen"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/shares": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A link by which anybody sees one run of an agent
         * @description Who has it sees what the run prints, live and afterwards, until it expires, is taken back or the agent is
         *     forgotten. It is for watching only, and shows nothing else of the town. What opens it stands after `#` in `url`,
         *     where no server sees it: the page there sends it to the calls under `/shared`. The town keeps its hash
         *     only, so no later answer holds it. How long a link may live at most, and does when `seconds` is absent, is the
         *     setting TOWND_SHARE_HOURS; with 0 this is refused with 403.
         */
        post: operations["shareRun"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/status": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        /** One agent */
        get: operations["agentStatus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/stop": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * End an agent and everything it started
         * @description Answered when no process of the agent is left. An agent that has ended already is left as it is.
         *     A body that is not JSON counts as empty, as older servers did.
         */
        post: operations["stopAgent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/stream": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        /**
         * Watch an agent's terminal, and type
         * @description See "Streams" above. Every parameter is checked before the ticket is spent.
         */
        get: operations["stream"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/stream-ticket": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A ticket that opens one stream
         * @description It works once, for this agent and mode, within 60 seconds. A write ticket for an agent whose CLI is
         *     structured is refused with 409: such an agent takes messages.
         */
        post: operations["streamTicket"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/system-prompt": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        /**
         * Change the system prompt of an agent
         * @description From the next turn on, in the same session; a turn under way is not disturbed. An agent that has ended, or
         *     that is a mere terminal program, is refused with 409.
         */
        put: operations["setSystemPrompt"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/{id}/transcript": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        /**
         * Everything an agent printed
         * @description The bytes still held. Offsets in `Range` and `Content-Range` are offsets of the run; without `Range` the
         *     body begins at `X-Townd-First-Offset`.
         */
        get: operations["transcript"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/agents/start": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start an agent
         * @description Idempotent: the same request again, while the agent runs, answers 200 with the same agent. Fields
         *     we do not know are not refused but named in `ignored`. A request of an older `generation` than the
         *     agent's is refused with 409. `Content-Type` may be left out.
         */
        post: operations["startAgent"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** The agents that the coordinator knows */
        get: operations["listTownAgents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/ask": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * An agent asks people (gt_ask)
         * @description It waits for the answer by `GET /questions/{questionId}?waitSeconds=`.
         */
        post: operations["ask"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/checkpoint": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * An agent notes where it is (gt_checkpoint)
         * @description The next attempt gets it. An old `epoch` is refused with 409.
         */
        post: operations["saveCheckpoint"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/completed": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A run of an agent has ended
         * @description Told by the container, maybe more than once. Of a generation that is not the lease's it changes no bead.
         */
        post: operations["agentCompleted"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/done": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * An agent has finished its bead (gt_done)
         * @description With an `epoch` older than that of the bead's lease the bead stays as it is, the call is kept as a note of kind
         *     `attempt`, and `kept` is true.
         */
        post: operations["done"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/mail": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** The mail that an agent has not acknowledged (gt_mail_check) */
        get: operations["agentMail"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/mail/ack": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * An agent has read mail
         * @description Ids of no mail of the agent, or acknowledged before, are not counted.
         */
        post: operations["ackMail"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/nudge": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Say something into an agent's session (gt_nudge)
         * @description It becomes an order of kind `message`.
         */
        post: operations["nudge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/prime": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** What an agent must know to begin or go on (gt_prime) */
        get: operations["prime"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/request-changes": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** A refinery sends a branch back (gt_request_changes) */
        post: operations["requestChanges"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/status": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** An agent says what it does (gt_status) */
        post: operations["sayStatus"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/agents/{agentId}/stop": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop an agent
         * @description It becomes an order of kind `stop`. Its bead is held until it is retried.
         */
        post: operations["orderStop"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/beads": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** Beads, newest first */
        get: operations["listBeads"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/beads/{beadId}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** One bead */
        get: operations["getBead"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change a bead
         * @description Fields that are absent stay as they are. `status` ends it, by a person. A change that the table of transitions
         *     (api/transitions.json) does not allow is refused with 409, dependencies that close a circle with 400.
         */
        patch: operations["patchBead"];
        trace?: never;
    };
    "/api/towns/{townId}/beads/{beadId}/close": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Close a bead
         * @description By a person at any time. By its agent when there was nothing to change, with the `epoch` of its lease: an older
         *     one changes nothing but is kept as an attempt.
         */
        post: operations["closeBead"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/beads/{beadId}/notes": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** What was written down about a bead */
        get: operations["listNotes"];
        put?: never;
        /** Write something down about a bead */
        post: operations["addNote"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/beads/{beadId}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Let a bead begin anew */
        post: operations["retryBead"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/convoys": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** Every convoy */
        get: operations["listConvoys"];
        put?: never;
        /**
         * Make a convoy with its beads
         * @description `dependsOn` of a task holds indices of tasks. A circle is refused with 400, and so are two or more tasks of which none depends
         *     on another unless `parallel` is set.
         */
        post: operations["createConvoy"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/convoys/{convoyId}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                convoyId: components["parameters"]["convoyId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** One convoy */
        get: operations["getConvoy"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/convoys/{convoyId}/beads": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                convoyId: components["parameters"]["convoyId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Put a bead into a convoy */
        post: operations["addToConvoy"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/convoys/{convoyId}/close": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                convoyId: components["parameters"]["convoyId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Close a convoy, and those of its beads that have not ended */
        post: operations["closeConvoy"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/convoys/{convoyId}/start": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                convoyId: components["parameters"]["convoyId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Let the beads of a staged convoy be taken */
        post: operations["startConvoy"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/escalations": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** Escalations */
        get: operations["listEscalations"];
        put?: never;
        /**
         * Ask for someone's judgement (gt_escalate)
         * @description With a `cause` that one has which is not closed, that one is counted up and answered with 200.
         */
        post: operations["escalate"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/escalations/{escalationId}/acknowledge": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                escalationId: components["parameters"]["escalationId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Someone looks at it
         * @description An answer goes to its agent as mail and as an order of kind `message`.
         */
        post: operations["acknowledgeEscalation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/escalations/{escalationId}/close": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                escalationId: components["parameters"]["escalationId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * It is settled
         * @description An answer goes to its agent as mail and as an order of kind `message`.
         */
        post: operations["closeEscalation"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/events": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /**
         * Events of all agents, in the coordinator's order
         * @description As server-sent events when `Accept` is `text/event-stream`: each has its `seq` as id, and `Last-Event-ID` is taken for `after`.
         */
        get: operations["townEvents"];
        put?: never;
        /**
         * Append events of agents
         * @description Told by the container, maybe more than once: each is kept once, by its `runId` and `id`.
         */
        post: operations["appendEvents"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/heartbeat": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A container tells what all its agents do
         * @description The reply carries orders until a later heartbeat tells in `ordersDone` that they were carried out. An instance that
         *     was replaced by a newer one gets 410: it stops its agents.
         */
        post: operations["heartbeat"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/mail": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** Mail */
        get: operations["listMail"];
        put?: never;
        /**
         * Send mail (gt_mail_send)
         * @description An agent sends it as itself.
         */
        post: operations["sendMail"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/merges": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** Branches on their way into their targets */
        get: operations["listMerges"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/questions": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** Questions of agents */
        get: operations["listQuestions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/questions/{questionId}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                questionId: components["parameters"]["questionId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** One question */
        get: operations["getQuestion"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/questions/{questionId}/answer": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                questionId: components["parameters"]["questionId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Answer a question
         * @description One that has expired can be answered still: its agent is told by an order of kind `message`.
         */
        post: operations["answerQuestion"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/questions/{questionId}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                questionId: components["parameters"]["questionId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Take a question back */
        post: operations["cancelQuestion"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/rigs": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** Every rig */
        get: operations["listTownRigs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/rigs/{rigId}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** One rig */
        get: operations["getRig"];
        /**
         * Make or change a rig
         * @description The whole of its settings is replaced, but for variables of `envVars` that are given as `""`: those keep the value
         *     that they have. Values of `envVars` are never answered: each is `""`.
         */
        put: operations["putRig"];
        post?: never;
        /**
         * Forget a rig, with its beads
         * @description Refused with 409 while one of its beads is in progress or in review.
         */
        delete: operations["deleteRig"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/rigs/{rigId}/agents/{agentId}/completed": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A run of an agent has ended, as earlier containers tell it
         * @description As `POST /agents/{agentId}/completed`; without a `generation` it is about the agent's current one.
         */
        post: operations["rigAgentCompleted"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/rigs/{rigId}/agents/{agentId}/heartbeat": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * One agent's heartbeat, as earlier containers send it
         * @description An agent that the coordinator does not know is no error.
         */
        post: operations["agentHeartbeat"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/rigs/{rigId}/beads": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make a bead
         * @description With a `dedupeKey` that a bead of the rig has already, that one is answered with 200 and nothing is made. A bead that
         *     depends on an unknown one, or by way of others on itself, is refused with 400.
         */
        post: operations["createBead"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/rigs/{rigId}/review-queue/{mergeId}/complete": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                mergeId: components["parameters"]["mergeId"];
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * What became of a merge
         * @description Told by the container, maybe more than once: of a merge that has ended it changes nothing. `entry_id` and `commit_sha`
         *     are taken for `entryId` and `commit`, as earlier containers send them.
         */
        post: operations["mergeCompleted"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/runs": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** Runs of agents */
        get: operations["listRuns"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/towns/{townId}/settings": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /** Pause the town, or let it go on */
        patch: operations["patchTown"];
        trace?: never;
    };
    "/api/towns/{townId}/status": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        /** The town on one screen */
        get: operations["townStatus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/clis": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * The agent CLIs, and which of them can be used here
         * @description The first call asks the installed programs for their versions, which may take seconds, at most 20.
         */
        get: operations["listCLIs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/drain": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Save the work of every agent, because the machine will go
         * @description The worktrees of all agents are saved at once, and brought to their remotes where the town is set to do that.
         *     Agents go on until the server is told to end, which saves once more. From now on until the server ends starts
         *     are refused with 503, and `/health` says `draining`. It may be repeated. An agent that cannot be saved in time
         *     does not keep the others from it.
         */
        post: operations["drain"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/git/merge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Merge a branch on the remote
         * @description Without a checkout, with the gates passed before it is pushed, on the condition that the target has not moved.
         *     Answered when it is decided; asked again after any failure it goes on from what the remote has.
         *     With the `entryId` of a merge queue it is answered at once, in a town that has a coordinator: 202, and one
         *     outcome to the coordinator's `…/review-queue/{entryId}/complete`, or to `callbackUrl` on the same host, kept
         *     until the coordinator has it. An entry that is being worked on is answered 202 and not begun again; ask again
         *     when no outcome came: the server may have been killed.
         *     Gates run as a user of their own where agents do, see `isolation` in `/health`, else as the server's.
         *
         *     In the mode `pull-request` the target is left alone: what can be merged and passes its gates is pushed as it is, and
         *     a pull request opened for it at the remote's forge, or the open one brought up to date with what `pullRequest` says.
         *     Asked again it tells how that goes on. With `deleteBranch` the branch is deleted when that is asked after the merge.
         */
        post: operations["merge"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/git/pull-request": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Where the pull request of a branch stands
         * @description The open one, else the newest that was merged or closed, with its checks and what reviewers wrote. That is anybody's
         *     text.
         */
        get: operations["pullRequest"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Whether the town works */
        get: operations["health"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** Figures for Prometheus */
        get: operations["metrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/openapi.json": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** This document */
        get: operations["openapi"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/refresh-token": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Change the town's credential for a git host
         * @description The token is kept in memory, until the server ends, and shown to remotes of that host from now on. With `townId`
         *     and no `host` it is the one that the town's coordinator is shown, where that is not in this server. Agents
         *     have no credential of it, so none is restarted; the figures are those of earlier towns, which did.
         */
        post: operations["refreshToken"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/repos/setup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Clone or fetch the repository of a rig
         * @description So that the first start in it is quick. Answered when it is done; `/health` tells how far it is. Earlier towns
         *     answered 202 and worked on: what they took for that, as `envVars`, is named in `ignored`.
         */
        post: operations["setupRepo"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/shared": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a shared link shows */
        get: operations["sharedRun"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/shared/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * What was said and done in a shared run without a terminal
         * @description As `GET /agents/{id}/events`, of that run only. A run with a terminal is refused with 409.
         */
        get: operations["sharedEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/shared/stream-ticket": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * A ticket that opens one stream of a shared run, to watch
         * @description As `POST /agents/{id}/stream-ticket`, in mode `read` only. The stream sends no events, and ends with 1008 when the
         *     link does. A run without a terminal is refused with 409.
         */
        post: operations["sharedStreamTicket"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/shared/transcript": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Everything the shared run printed
         * @description As `GET /agents/{id}/transcript`. A run without a terminal is refused with 409.
         */
        get: operations["sharedTranscript"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/shares": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The shared links that open something */
        get: operations["listShares"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/shares/{id}": {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Take a shared link back
         * @description It opens nothing from then on, and who watches by it is cut off.
         */
        delete: operations["revokeShare"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/sync-config": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Tell the town the settings of its rigs
         * @description A rig's settings are replaced as a whole; rigs that are not named stay as they are. Of each, `git` is used here,
         *     from the rig's next clone, fetch and worktree on, and kept for after a restart. The rest comes with each start
         *     and is not kept, least of all `envVars`. A 400 names what is wrong; the other rigs' settings are taken over.
         */
        post: operations["syncConfig"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        Accepted: {
            accepted: number;
        };
        Acked: {
            acked: number;
        };
        AckRequest: {
            ids: string[];
        };
        Agent: {
            agentId: string;
            beadId?: string;
            branch: string;
            cli: string;
            /** @description What went wrong, for people. */
            error?: string;
            exitCode: number | null;
            /** Format: date-time */
            exitedAt: string | null;
            /** Format: int64 */
            generation: number;
            /**
             * Format: date-time
             * @description Last output or input.
             */
            lastActivityAt: string | null;
            model: string;
            name: string;
            /** @description Null when no process runs, as between the turns of some CLIs. */
            pid: number | null;
            reason?: components["schemas"]["Reason"];
            resources: components["schemas"]["Resources"];
            restart?: components["schemas"]["RestartState"];
            rigId: string;
            role: components["schemas"]["Role"];
            runId: string;
            /** @description Of the CLI, for resuming. */
            sessionId?: string;
            /** @example SIGTERM */
            signal?: string;
            /** Format: date-time */
            startedAt: string | null;
            status: components["schemas"]["Status"];
            townId: string;
            turn: components["schemas"]["Turn"];
            usage: components["schemas"]["Usage"];
            workdir: string;
        };
        AgentEvent: {
            agentId: components["schemas"]["Id"];
            beadId?: string;
            /** @description By type, as in Event. */
            data: unknown;
            event: string;
            /** Format: int64 */
            id: number;
            rigId?: string;
            runId?: string;
            /**
             * Format: int64
             * @description What after takes.
             */
            seq: number;
            /** Format: date-time */
            timestamp: string;
        };
        AgentEventBatch: {
            events: components["schemas"]["AgentEventInput"][];
            instanceId: components["schemas"]["Id"];
        };
        AgentEventInput: {
            agentId: components["schemas"]["Id"];
            beadId?: string;
            /** @description By type, as in Event. */
            data: unknown;
            event: string;
            /** Format: int64 */
            id: number;
            rigId?: string;
            runId: string;
            /** Format: date-time */
            timestamp: string;
        };
        AgentEventPage: {
            events: components["schemas"]["AgentEvent"][];
            /**
             * Format: int64
             * @description The after of the next page.
             */
            next: number;
        };
        AgentHeartbeat: {
            activeTools?: string[];
            agentId: components["schemas"]["Id"];
            beadId?: string;
            /**
             * Format: int64
             * @description Id of its newest event.
             */
            cursor?: number;
            /** Format: int64 */
            generation: number;
            /** Format: date-time */
            lastActivityAt?: string;
            /** Format: date-time */
            lastEventAt?: string;
            lastEventType?: string;
            /**
             * Format: int64
             * @description Events so far.
             */
            messageCount?: number;
            reason?: components["schemas"]["Reason"];
            resources?: components["schemas"]["Resources"];
            rigId: string;
            role: components["schemas"]["Role"];
            runId?: string;
            status: components["schemas"]["Status"];
            turn?: components["schemas"]["Turn"];
            usage?: components["schemas"]["Usage"];
        };
        AgentHeartbeatRequest: {
            activeTools?: string[];
            agentId?: string;
            containerInstanceId?: string;
            /** Format: date-time */
            lastEventAt?: string | null;
            lastEventType?: string | null;
            /** Format: int64 */
            messageCount?: number;
            rigId?: string;
            status?: string;
            /** Format: date-time */
            timestamp?: string;
            townId?: string;
        };
        AgentList: {
            agents: components["schemas"]["Agent"][];
        };
        AnswerRequest: {
            /** @description One of the options, or something else. */
            answer: string;
        };
        AskRequest: {
            options: string[];
            question: string;
            /** @default 600 */
            waitSeconds?: number;
        };
        Bead: {
            agentId?: components["schemas"]["Id"];
            /** @description Times that it was taken since it was made or retried. */
            attempts: number;
            body: string;
            branch?: string;
            /** @description What its agent noted last; any JSON. */
            checkpoint?: unknown;
            closedAt?: components["schemas"]["Instant"];
            commit?: string;
            convoyId?: components["schemas"]["Id"];
            createdAt: components["schemas"]["Instant"];
            dedupeKey?: string;
            /** @description Beads that must be closed before anyone takes it. */
            dependsOn: components["schemas"]["Id"][];
            /**
             * Format: int64
             * @description Of the newest lease; 0 before the first.
             */
            epoch: number;
            /** @description Of the last review or merge that sent it back. */
            feedback?: string;
            /** @description Why nobody may take it, until it is retried or let go. */
            hold?: string;
            id: components["schemas"]["Id"];
            labels: string[];
            lease?: components["schemas"]["Lease"];
            maxAttempts: number;
            /** @description As it was given. */
            metadata?: Record<string, never>;
            notBefore?: components["schemas"]["Instant"];
            priority: components["schemas"]["Priority"];
            pullRequest?: string;
            /** @description Times that it came back from review. */
            reworks: number;
            rigId: components["schemas"]["Id"];
            /** @description Who made it: person, agent:<id>, github and others. */
            source: string;
            startPoint?: string;
            status: components["schemas"]["BeadStatus"];
            summary?: string;
            target?: string;
            title: string;
            type: components["schemas"]["BeadType"];
            updatedAt: components["schemas"]["Instant"];
            /** @description For people: what it waits for, or why it is in this status. */
            why: string;
        };
        BeadAnswer: {
            bead: components["schemas"]["Bead"];
        };
        BeadList: {
            beads: components["schemas"]["Bead"][];
            /** @description The after of the next page; absent on the last one. */
            next?: string;
        };
        BeadPatch: {
            body?: string;
            dependsOn?: components["schemas"]["Id"][];
            /** @description Empty lets it go. */
            hold?: string;
            labels?: string[];
            /** Format: date-time */
            notBefore?: string;
            priority?: components["schemas"]["Priority"];
            reason?: string;
            /** @enum {string} */
            status?: "" | "closed" | "failed";
            title?: string;
            type?: components["schemas"]["BeadType"];
        };
        BeadRequest: {
            body?: string;
            dedupeKey?: string;
            dependsOn?: components["schemas"]["Id"][];
            labels?: string[];
            /** @default 3 */
            maxAttempts?: number;
            metadata?: Record<string, never>;
            /** Format: date-time */
            notBefore?: string;
            priority?: components["schemas"]["PriorityOrNone"];
            /** @description Ignored when an agent calls */
            source?: string;
            startPoint?: string;
            target?: string;
            title: string;
            type?: components["schemas"]["BeadTypeOrNone"];
        };
        /** @enum {string} */
        BeadStatus: "open" | "in_progress" | "in_review" | "closed" | "failed";
        /** @enum {string} */
        BeadType: "issue" | "bug" | "feature" | "chore" | "docs" | "convoy" | "escalation";
        /**
         * @default issue
         * @enum {string}
         */
        BeadTypeOrNone: "" | "issue" | "bug" | "feature" | "chore" | "docs" | "escalation";
        ChangesRequest: {
            feedback: string;
            files?: string[];
            /** @description What the refinery looks at when empty. */
            mergeId?: string;
        };
        Check: {
            name: string;
            /** @enum {string} */
            state: "none" | "pending" | "passed" | "failed";
            /** @description Of its log, for people. */
            url?: string;
        };
        /**
         * @description Where work is that is in no commit of a branch; ref and commit are empty when there is none. Absent where all
         *     work is in commits, on this machine.
         */
        Checkpoint: {
            commit: string;
            /** @description Changed files that it does not hold, the first 200. */
            leftOut?: components["schemas"]["LeftOut"][];
            leftOutCount?: number;
            /** @description The remote has it, and the branch's commits. */
            pushed: boolean;
            ref: string;
        };
        CheckpointRequest: {
            /** @description Any JSON, at most 64 KiB. */
            data: unknown;
            /**
             * Format: int64
             * @description Of the agent's lease.
             */
            epoch: number;
        };
        CLI: {
            /** @description The town has a credential for a model that it speaks to, or it needs none. */
            credential: boolean;
            /** @description Why the version of an installed one is not known. */
            error?: string;
            /** @description The version is the tested one, but for its last number. */
            inRange: boolean;
            /** @description The command that installs it. */
            install: string;
            installed: boolean;
            /** @description As `cli` of a start request. */
            name: string;
            /** @description Of the program; empty when it is not installed. */
            path: string;
            /** @description Empty for one that is built in, or given by the request. */
            program: string;
            /** @description The version that the town was tested with. */
            tested: string;
            /** @description Empty when it is not installed or did not tell. */
            version: string;
        };
        CLIList: {
            clis: components["schemas"]["CLI"][];
        };
        CloseRequest: {
            /**
             * Format: int64
             * @description Of an agent's lease, when it closes its own bead.
             */
            epoch?: number;
            reason?: string;
        };
        CompletedAnswer: {
            /** @enum {boolean} */
            completed: true;
        };
        Completion: {
            agentId?: string;
            beadId?: string;
            branch?: string;
            /** @description Commit that holds what was in no commit. */
            checkpoint?: string;
            error?: string;
            exitCode?: number | null;
            /** Format: date-time */
            exitedAt?: string;
            /** Format: int64 */
            generation?: number;
            /** @description As of an agent; other words are kept. */
            reason?: string;
            rigId?: string;
            runId?: string;
            signal?: string;
            /** Format: date-time */
            startedAt?: string;
            /** @enum {string} */
            status: "completed" | "failed";
            usage?: components["schemas"]["Usage"];
        };
        Conflict: {
            /** @description Its conflicting parts between git's markers, cut at 8 KiB. */
            hunks: string;
            /** @description As git names it: contents, modify/delete, and others. */
            kind: string;
            path: string;
        };
        Convoy: {
            beads: components["schemas"]["Id"][];
            /** @description That its beads go into, with review-then-land. */
            branch?: string;
            /** @description Of its beads. */
            closed: number;
            closedAt?: components["schemas"]["Instant"];
            createdAt: components["schemas"]["Instant"];
            /** @description Of its beads. */
            failed: number;
            id: components["schemas"]["Id"];
            mode: components["schemas"]["ConvoyMode"];
            rigId: components["schemas"]["Id"];
            status: components["schemas"]["ConvoyStatus"];
            title: string;
        };
        ConvoyBeadRequest: {
            beadId: components["schemas"]["Id"];
        };
        ConvoyList: {
            convoys: components["schemas"]["Convoy"][];
        };
        ConvoyMade: {
            /** @description In the order of the tasks. */
            beads: components["schemas"]["Bead"][];
            convoy: components["schemas"]["Convoy"];
        };
        /** @enum {string} */
        ConvoyMode: "review-then-land" | "review-and-merge";
        ConvoyRequest: {
            /**
             * @default review-and-merge
             * @enum {string}
             */
            mode?: "" | "review-then-land" | "review-and-merge";
            parallel?: boolean;
            rigId: components["schemas"]["Id"];
            source?: string;
            staged?: boolean;
            tasks: components["schemas"]["ConvoyTask"][];
            title: string;
        };
        /** @enum {string} */
        ConvoyStatus: "staged" | "open" | "landing" | "closed" | "failed";
        ConvoyTask: {
            body?: string;
            /** @description Indices of tasks. */
            dependsOn?: number[];
            labels?: string[];
            priority?: components["schemas"]["PriorityOrNone"];
            title: string;
            type?: components["schemas"]["BeadTypeOrNone"];
        };
        /** @description A model that its provider is not asked for before `until`, if another one can serve. */
        CoolingModel: {
            model: string;
            /** Format: date-time */
            until: string;
        };
        /** @description The way to the town's coordinator; absent in a town without one. */
        Coordinator: {
            /**
             * Format: int64
             * @description That the coordinator gave it; 0 before.
             */
            epoch: number;
            /** @description Of this container: a new one with each keeper. */
            instanceId: string;
            outbox: components["schemas"]["OutboxState"];
            /**
             * Format: date-time
             * @description When a heartbeat was answered last.
             */
            reachedAt: string | null;
            /** @description Another container has taken over: agents are stopped here, nothing is reported. */
            replaced: boolean;
        };
        DeleteResponse: {
            /** @enum {boolean} */
            deleted: true;
        };
        Diff: {
            /** @description Commit the worktree started from. */
            base: string;
            files: components["schemas"]["DiffFile"][];
            head: string;
            /** @description One patch against base, with bytes that are not UTF-8 replaced; ask for text/x-diff for the exact one. */
            patch: string;
            truncated: boolean;
        };
        DiffFile: {
            /** @description Lines. */
            added: number;
            binary: boolean;
            /** @description Lines. */
            deleted: number;
            /** @description Of a rename or copy. */
            oldPath?: string;
            path: string;
            /**
             * @description As git names them.
             * @enum {string}
             */
            status: "A" | "M" | "D" | "R" | "C" | "T";
        };
        DoneAnswer: {
            bead: components["schemas"]["Bead"];
            /** @description The epoch was old. */
            kept: boolean;
        };
        DoneRequest: {
            branch?: string;
            commit?: string;
            /**
             * Format: int64
             * @description Of the agent's lease.
             */
            epoch: number;
            prUrl?: string;
            summary?: string;
        };
        DrainRequest: {
            /** @default 60 */
            deadlineSeconds?: number;
        };
        ErrorFrame: {
            error: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "error";
        };
        Escalation: {
            agentId?: string;
            answer?: string;
            beadId?: string;
            body: string;
            cause?: string;
            closedAt?: components["schemas"]["Instant"];
            count: number;
            createdAt: components["schemas"]["Instant"];
            id: components["schemas"]["Id"];
            rigId?: string;
            severity: components["schemas"]["Priority"];
            /** @enum {string} */
            status: "open" | "acknowledged" | "closed";
            title: string;
            updatedAt: components["schemas"]["Instant"];
        };
        EscalationAnswer: {
            answer?: string;
        };
        EscalationList: {
            escalations: components["schemas"]["Escalation"][];
        };
        EscalationRequest: {
            agentId?: string;
            beadId?: string;
            body?: string;
            cause?: string;
            rigId?: string;
            severity?: components["schemas"]["PriorityOrNone"];
            title: string;
        };
        Event: {
            /**
             * @description By type: state {status, reason}; session {id}; text and thinking {text}; tool.call {id, name, input};
             *     tool.result {id, ok, output}; usage {inputTokens, outputTokens, cacheReadTokens, cacheWriteTokens, costUsd};
             *     retry {kind, attempt, delaySeconds}; error {kind, message}; turn.ended {ok, text}; message {messageId,
             *     receipt: queued, delivered, seen or failed}; hook {name, tool, decision, reason}; budget {limit, used, of}; checkpoint {ref, commit, leftOut: [{path, why}],
             *     leftOutCount}, empty ref and commit when all but what was left out is in commits; gap {from}.
             */
            data: Record<string, never>;
            /** @enum {string} */
            event: "state" | "session" | "turn.started" | "text" | "thinking" | "tool.call" | "tool.result" | "usage" | "retry" | "error" | "turn.ended" | "message" | "hook" | "budget" | "checkpoint" | "gap";
            /**
             * Format: int64
             * @description Grows by one within an epoch.
             */
            id: number;
            /** Format: date-time */
            timestamp: string;
        };
        EventFrame: {
            event: components["schemas"]["Event"];
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "event";
        };
        EventPage: {
            /** @description Ids of another epoch are not comparable. */
            epoch: string;
            events: components["schemas"]["Event"][];
            /**
             * Format: int64
             * @description The `after` of the next page.
             */
            next: number;
        };
        ExitFrame: {
            error?: string;
            exitCode?: number | null;
            /**
             * Format: int64
             * @description The run's size.
             */
            offset: number;
            reason?: components["schemas"]["Reason"];
            signal?: string;
            status: components["schemas"]["Status"];
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "exit";
        };
        GapFrame: {
            /** Format: int64 */
            from: number;
            /** Format: int64 */
            to: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "gap";
        };
        Gate: {
            /** @description For sh. */
            command: string;
            name?: string;
            /** @default 600 */
            timeoutSeconds?: number;
        };
        GateResult: {
            exitCode: number;
            name: string;
            /** @description The last 32 KiB. */
            output: string;
            seconds: number;
            timedOut: boolean;
        };
        GitSettings: {
            blobless?: boolean;
            /** @description Commits of history of a new clone; 0 for all. */
            depth?: number;
            /** @description 30 when 0 */
            fetchEverySeconds?: number;
            lfs?: boolean;
            /**
             * Format: int64
             * @description Of the rig on disk; 0 for none.
             */
            quotaBytes?: number;
            sparse?: string[];
            submodules?: boolean;
        };
        Health: {
            /** @description Starting and running. */
            agents: number;
            coordinator?: components["schemas"]["Coordinator"];
            /** @description What is wrong now. */
            degraded: string[];
            draining: boolean;
            host?: components["schemas"]["Host"];
            /** @description How agents are kept apart: `uid` or `none`. */
            isolation: string;
            /** @description How their process trees are ended: `uid` or `subreaper`. */
            killRung: string;
            maxAgents: number;
            /** @description The providers of models, the preferred one first. */
            providers?: components["schemas"]["ModelProvider"][];
            /** @description What the town's own command measured last. */
            quotaProbe?: components["schemas"]["Quota"];
            /** @description Rigs whose repositories were prepared since the server began. */
            rigs?: components["schemas"]["Rig"][];
            /** Format: date-time */
            startedAt: string;
            /** @enum {string} */
            status: "ok" | "degraded" | "draining" | "unhealthy";
            /**
             * Format: int64
             * @description Milliseconds.
             */
            uptime: number;
            version: string;
            /** @description What may go wrong later, as a home that is not on a real disk. The status is `ok` with them. */
            warnings: string[];
        };
        Heartbeat: {
            /** @description Every agent that is not forgotten. */
            agents: components["schemas"]["AgentHeartbeat"][];
            instanceId: components["schemas"]["Id"];
            ordersDone?: components["schemas"]["OrderResult"][];
            outbox?: components["schemas"]["OutboxState"];
            quota?: components["schemas"]["Quota"];
            resources?: components["schemas"]["HostResources"];
            /** Format: date-time */
            sentAt?: string;
            /** Format: date-time */
            startedAt?: string;
            /** @description As in Health. */
            status?: string;
            version?: string;
        };
        HeartbeatReply: {
            /**
             * Format: int64
             * @description Of this instance.
             */
            epoch: number;
            /** @enum {boolean} */
            heartbeat: true;
            orders: components["schemas"]["Order"][];
        };
        HeartbeatSeen: {
            /** @enum {boolean} */
            heartbeat: true;
        };
        HelloFrame: {
            agentId: string;
            cols: number;
            epoch: string;
            /**
             * Format: int64
             * @description Events with greater ids follow as frames.
             */
            eventId: number;
            mode: components["schemas"]["TicketMode"];
            /**
             * Format: int64
             * @description Of the first byte that follows.
             */
            offset: number;
            rows: number;
            runId: string;
            status: components["schemas"]["Status"];
            /** @description The bytes are a protocol for programs; draw the events instead. */
            structured: boolean;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "hello";
            /** @description This viewer came to type and does when those before it have left. */
            waiting?: boolean;
        };
        /** @description Sampled every 10 seconds; absent until the first sample. */
        Host: {
            cpus: number;
            /** Format: int64 */
            diskFreeBytes: number;
            /**
             * Format: int64
             * @description Of the town's home.
             */
            diskTotalBytes: number;
            /** @description Over 1, 5 and 15 minutes. */
            load: number[];
            /** Format: int64 */
            memoryAvailableBytes: number;
            /** Format: int64 */
            memoryTotalBytes: number;
            /** Format: date-time */
            sampledAt: string;
        };
        HostResources: {
            /** @description Of all cores */
            cpuPercent: number;
            /** Format: int64 */
            diskFreeBytes: number;
            /** Format: int64 */
            memoryTotal: number;
            /** Format: int64 */
            memoryUsed: number;
        };
        /**
         * @description Begins with a letter or digit and holds no "..".
         * @example a1
         */
        Id: string;
        Ignored: {
            /** @description Fields of the request that the coordinator does not know. */
            ignored?: string[];
        };
        InstanceStatus: {
            /** Format: int64 */
            epoch: number;
            instanceId: string;
            outbox: components["schemas"]["OutboxState"];
            resources: components["schemas"]["HostResources"];
            seenAt: components["schemas"]["Instant"];
            status: string;
        };
        /**
         * Format: date-time
         * @description A time of the coordinator
         * @example 2026-11-21T09:00:00.123Z
         */
        Instant: string;
        Issue: {
            message: string;
            /** @example limits.seconds */
            path: string;
        };
        Lease: {
            /** Format: int64 */
            epoch: number;
            expiresAt: components["schemas"]["Instant"];
        };
        LeftOut: {
            path: string;
            why: string;
        };
        /** @description Bounds of one agent; 0 or absent means unlimited. */
        Limits: {
            costUsd?: number;
            /** @description Without output. */
            idleSeconds?: number;
            /**
             * Format: int64
             * @description Resident, of the whole tree.
             */
            memoryBytes?: number;
            /** @description In the whole tree. */
            processes?: number;
            /** @description Wall clock since the start. */
            seconds?: number;
            /** Format: int64 */
            tokens?: number;
            /** Format: int64 */
            turns?: number;
        };
        Mail: {
            ackedAt?: components["schemas"]["Instant"];
            body: string;
            createdAt: components["schemas"]["Instant"];
            /** @description An agent's id, person or town. */
            from: string;
            id: components["schemas"]["Id"];
            subject: string;
            to: string;
        };
        MailList: {
            mail: components["schemas"]["Mail"][];
        };
        MailRequest: {
            body?: string;
            /** @description Who calls, when empty. */
            from?: string;
            subject: string;
            to: components["schemas"]["Id"];
        };
        Manifest: {
            /** @description Those that have a worktree. */
            agents: components["schemas"]["SavedAgent"][];
        };
        Merge: {
            attempts: number;
            beadId: components["schemas"]["Id"];
            branch: string;
            commit?: string;
            createdAt: components["schemas"]["Instant"];
            id: components["schemas"]["Id"];
            message?: string;
            notBefore?: components["schemas"]["Instant"];
            pullRequest?: string;
            reviewer?: components["schemas"]["Id"];
            rigId: components["schemas"]["Id"];
            status: components["schemas"]["MergeStatus"];
            target: string;
            updatedAt: components["schemas"]["Instant"];
        };
        MergeAccepted: {
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
            /** @description For people. */
            message: string;
            /** @enum {string} */
            status: "accepted";
        };
        MergeList: {
            merges: components["schemas"]["Merge"][];
        };
        MergeOutcome: {
            commit?: string;
            commit_sha?: string | null;
            conflicts?: components["schemas"]["Conflict"][];
            entry_id?: string;
            entryId?: string;
            gates?: components["schemas"]["GateResult"][];
            message?: string;
            pullRequest?: string;
            /** @enum {string} */
            status: "merged" | "nothing" | "conflict" | "race" | "gates_failed" | "auth" | "network" | "pull_request" | "closed" | "failed";
        };
        MergeRequest: {
            agentId?: string;
            beadId?: string;
            branch: string;
            /** @description Where the outcome of an `entryId` goes: on the coordinator's host, below its URL. Named in `ignored` elsewhere. */
            callbackUrl?: string;
            /**
             * @description At the default branch, when the remote has no `targetBranch`.
             * @default false
             */
            createTarget?: boolean;
            /**
             * @description On the remote, once it is merged.
             * @default false
             */
            deleteBranch?: boolean;
            /** @description Of the coordinator's merge queue: answered at once, see the call. */
            entryId?: string;
            /** @description Run in a checkout of the result, one after another, before it is pushed. */
            gates?: components["schemas"]["Gate"][];
            /** @description Not needed when the rig has a clone. */
            gitUrl?: string;
            /** @description Of the commit; one is made when empty. */
            message?: string;
            /**
             * @description How the branch gets into its target; what the town is set to for the rig when empty, else merge.
             * @enum {string}
             */
            mode?: "" | "merge" | "pull-request";
            pullRequest?: components["schemas"]["Proposal"];
            rigId: components["schemas"]["Id"];
            /**
             * @default merge
             * @enum {string}
             */
            strategy?: "" | "merge" | "squash" | "rebase";
            /** @description The remote's default branch when empty. */
            targetBranch?: string;
            townId?: string;
        };
        MergeResult: {
            attempts: number;
            /** @description Commit of the target that was looked at. */
            base: string;
            branchDeleted: boolean;
            /** @description What the target is at, when merged or nothing. */
            commit: string;
            conflicts: components["schemas"]["Conflict"][];
            gates: components["schemas"]["GateResult"][];
            /** @description Commit of the branch that was looked at. */
            head: string;
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
            /** @description For people. */
            message: string;
            pullRequest?: components["schemas"]["PullRequest"];
            /**
             * @description `nothing`: the target has it all already; `race`: the target, or the branch of a pull request, kept moving;
             *     `auth`: the remote or its forge does not let us; `network`: it is not reached, and what it has is not known;
             *     `pull_request`: it is open; `closed`: somebody closed it without a merge, and the branch has nothing new.
             * @enum {string}
             */
            status: "merged" | "nothing" | "conflict" | "race" | "gates_failed" | "auth" | "network" | "pull_request" | "closed";
            /** @description The branch it went into. */
            target: string;
            /** @description Conflicts are left out. */
            truncated: boolean;
        };
        MergeSettings: {
            autoMerge?: boolean;
            deleteBranch?: boolean;
            /**
             * @default merge
             * @enum {string}
             */
            mode?: "" | "merge" | "pull-request" | "none";
            /** @description A refinery agent looks at each branch first. */
            review?: boolean;
            /**
             * @default merge
             * @enum {string}
             */
            strategy?: "" | "merge" | "squash" | "rebase";
        };
        /** @enum {string} */
        MergeStatus: "waiting" | "reviewing" | "merging" | "pull_request" | "merged" | "conflict" | "gates_failed" | "rejected" | "failed" | "cancelled";
        MessageRequest: {
            /**
             * @default turn-end
             * @enum {string}
             */
            deliver?: "" | "now" | "turn-end" | "idle";
            prompt: string;
        };
        MessageResponse: {
            messageId: string;
            /** @enum {boolean} */
            sent: true;
        };
        ModeFrame: {
            mode: components["schemas"]["TicketMode"];
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "mode";
        };
        ModelProvider: {
            cooling?: components["schemas"]["CoolingModel"][];
            /** @description Why it did not serve when it was last asked, as an `error` event's kind. */
            kind?: string;
            message?: string;
            name: string;
            /** @description What is left of its limits, as it told last. */
            quota?: components["schemas"]["Quota"];
            /**
             * Format: date-time
             * @description It is not asked before then, if another one can serve.
             */
            until?: string;
        };
        ModelRequest: {
            model: string;
        };
        Note: {
            beadId: components["schemas"]["Id"];
            branch?: string;
            /** @description person, town or an agent's id. */
            by: string;
            createdAt: components["schemas"]["Instant"];
            /**
             * Format: int64
             * @description Of the lease it was written under.
             */
            epoch?: number;
            /** Format: int64 */
            id: number;
            /** @description note, status, attempt, feedback, checkpoint and others. */
            kind: string;
            text: string;
        };
        NoteList: {
            notes: components["schemas"]["Note"][];
        };
        NoteRequest: {
            /**
             * @default note
             * @enum {string}
             */
            kind?: "" | "note" | "attempt" | "feedback" | "checkpoint";
            text: string;
        };
        Nudged: {
            /** @enum {boolean} */
            nudged: true;
            orderId: components["schemas"]["Id"];
        };
        NudgeRequest: {
            message: string;
            /**
             * @default wait-idle
             * @enum {string}
             */
            mode?: "" | "wait-idle" | "immediate" | "queue";
        };
        /** @description Carried out once, by its id. */
        Order: {
            agentId?: components["schemas"]["Id"];
            /** @description The body of the call of the control API that the kind stands for. */
            data?: unknown;
            id: components["schemas"]["Id"];
            /** @enum {string} */
            kind: "stop" | "message" | "forget" | "drain" | "settings";
        };
        Ordered: {
            /** @enum {boolean} */
            ordered: true;
            orderId: components["schemas"]["Id"];
        };
        OrderResult: {
            error?: string;
            id: string;
        };
        OutboxState: {
            /**
             * Format: int64
             * @description That the coordinator refused for good.
             */
            dead: number;
            /** Format: date-time */
            oldestAt?: string;
            /** Format: int64 */
            pending: number;
        };
        Prime: {
            agent: components["schemas"]["TownAgent"];
            /** @description That it has. */
            bead: components["schemas"]["Bead"] | null;
            escalations: components["schemas"]["Escalation"][];
            mail: components["schemas"]["Mail"][];
            notes: components["schemas"]["Note"][];
            /** @description Of its rig. */
            openBeads: components["schemas"]["Bead"][];
            questions: components["schemas"]["Question"][];
            /** @description For a refinery: the branches that wait, in order. */
            reviews: components["schemas"]["Merge"][];
        };
        /** @enum {string} */
        Priority: "low" | "medium" | "high" | "critical";
        /**
         * @default medium
         * @enum {string}
         */
        PriorityOrNone: "" | "low" | "medium" | "high" | "critical";
        Problem: {
            /** @description What is wrong and what would be right. */
            detail: string;
            /** @description The text, for older clients; `Invalid request body` when `issues` tells more. */
            error: string;
            issues?: components["schemas"]["Issue"][];
            status: number;
            title: string;
            /** @example about:blank */
            type: string;
        };
        /** @description What a pull request says. Of one that is open title and body are changed when they are given. */
        Proposal: {
            /**
             * @description The forge merges it, by `strategy`, as soon as its rules allow. Where it does not do that, `message` says so.
             * @default false
             */
            autoMerge?: boolean;
            body?: string;
            /**
             * @description Of one that is opened.
             * @default false
             */
            draft?: boolean;
            /** @description The first line of the branch's last commit when empty. */
            title?: string;
        };
        PullRequest: {
            /** @description This call had the forge merge it by itself. */
            autoMerge: boolean;
            branch: string;
            /**
             * @description Of all checks: failed if one did, else pending if one is.
             * @enum {string}
             */
            checked: "none" | "pending" | "passed" | "failed";
            checks: components["schemas"]["Check"][];
            /** @description What reviewers wrote, oldest first; of GET /git/pull-request only. */
            comments?: components["schemas"]["ReviewComment"][];
            draft: boolean;
            /** @description Commit of the branch that the forge has seen. */
            head: string;
            /** @description Without a conflict, as far as the forge has found out. */
            mergeable: boolean;
            /** @description Where it is merged. */
            mergeCommit?: string;
            number: number;
            /** @enum {string} */
            review: "none" | "approved" | "changes_requested";
            /** @enum {string} */
            state: "open" | "closed" | "merged";
            target: string;
            title: string;
            /** @description There are more checks, reviews or comments. */
            truncated: boolean;
            /** @description For people. */
            url: string;
        };
        Question: {
            agentId: components["schemas"]["Id"];
            answer?: string;
            answeredAt?: components["schemas"]["Instant"];
            beadId?: components["schemas"]["Id"];
            createdAt: components["schemas"]["Instant"];
            /** @description Nobody waits for it any more; it can be answered still. */
            expiresAt: components["schemas"]["Instant"];
            id: components["schemas"]["Id"];
            options: string[];
            question: string;
            /** @enum {string} */
            status: "open" | "answered" | "expired" | "cancelled";
        };
        QuestionList: {
            questions: components["schemas"]["Question"][];
        };
        /** @description What is left of the limit that a model provider is nearest to. It counts until its reset, 30 minutes at most. */
        Quota: {
            /** Format: date-time */
            checkedAt: string;
            /** @description Of the limit, as `requests`, `input-tokens`. */
            name: string;
            /** @description That is left. */
            percent: number;
            /** @description Absent in what the town's own command measured. */
            provider?: string;
            /**
             * Format: date-time
             * @description Absent when it is not known.
             */
            resetAt?: string;
        };
        /**
         * @description Why it is no longer running.
         * @enum {string}
         */
        Reason: "done" | "blocked" | "waiting" | "exited" | "stopped" | "killed" | "oom" | "timeout" | "budget" | "auth" | "start_failed" | "crashed";
        ReasonRequest: {
            reason?: string;
        };
        RefreshTokenRequest: {
            /**
             * @description With its port if it has one.
             * @default github.com
             */
            host?: string;
            token: string;
            townId?: string;
        };
        RefreshTokenResponse: {
            /** @enum {integer} */
            agentsFailed: 0;
            /** @enum {integer} */
            agentsRestarted: 0;
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
            /** @enum {boolean} */
            refreshed: true;
            results: Record<string, never>[];
        };
        ResizeFrame: {
            cols: number;
            rows: number;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "resize";
        };
        ResizeRequest: {
            cols: number;
            rows: number;
        };
        ResizeResponse: {
            cols: number;
            /** @enum {boolean} */
            resized: true;
            rows: number;
        };
        /** @description Of the whole process tree, from the last sample. */
        Resources: {
            /** @description Of one core. */
            cpuPercent: number;
            processes: number;
            /** Format: int64 */
            rssBytes: number;
        };
        /** @enum {string} */
        RestartPolicy: "never" | "on-failure";
        RestartState: {
            count: number;
            /** Format: date-time */
            nextAt?: string;
            parked?: boolean;
            policy: components["schemas"]["RestartPolicy"];
        };
        ReviewComment: {
            author: string;
            /** @description At most 64 KiB. */
            body: string;
            /** @description In the new file. */
            line?: number;
            /** @description The file that it is about, absent for the whole. */
            path?: string;
            url?: string;
            /**
             * @description Of a review as a whole.
             * @enum {string}
             */
            verdict: "none" | "approved" | "changes_requested";
            /** Format: date-time */
            when: string;
        };
        Rig: {
            /** @description Of a failed one. */
            error?: string;
            /** @description Of its clone, as git names it. */
            phase?: string;
            /** @description Percent of the phase. */
            progress: number;
            rigId: components["schemas"]["Id"];
            /** @enum {string} */
            state: "waiting" | "preparing" | "ready" | "failed";
        };
        RigSettings: {
            cli?: string;
            /** @description With cli command. */
            command?: string[];
            /** @description The remote's own when empty. */
            defaultBranch?: string;
            /** @description Of its agents. */
            envVars?: {
                [key: string]: string;
            };
            gates?: components["schemas"]["Gate"][];
            git?: components["schemas"]["GitSettings"];
            gitUrl: string;
            limits?: components["schemas"]["Limits"];
            /** @description Polecats at once; 5 when 0. */
            maxAgents?: number;
            merge?: components["schemas"]["MergeSettings"];
            model?: string;
            paused?: boolean;
        };
        /** @enum {string} */
        Role: "mayor" | "polecat" | "refinery" | "witness" | "triage";
        Run: {
            agentId: components["schemas"]["Id"];
            beadId?: string;
            branch?: string;
            /** Format: int64 */
            durationMs?: number;
            /** Format: date-time */
            endedAt?: string;
            error?: string;
            /** Format: int64 */
            generation: number;
            /** @description As of an agent. */
            reason?: string;
            rigId: string;
            runId: string;
            /** Format: date-time */
            startedAt: string;
            /** @enum {string} */
            status: "running" | "success" | "error" | "cancelled";
            usage: components["schemas"]["Usage"];
        };
        RunList: {
            /** @description The after of the next page; absent on the last one. */
            next?: string;
            runs: components["schemas"]["Run"][];
        };
        SavedAgent: {
            agentId: components["schemas"]["Id"];
            branch: string;
            checkpoint?: components["schemas"]["Checkpoint"];
            /** @description Why its work is not saved, or not where it should be. */
            error?: string;
            status: components["schemas"]["Status"];
        };
        SayRequest: {
            /** @description In characters. */
            message: string;
        };
        Screen: {
            /** @description The screen of full-screen programs. */
            altScreen: boolean;
            /** @description Makes an empty terminal of that size show the same. */
            ansi: string;
            cols: number;
            cursor: {
                /** @description From 0. */
                col: number;
                /** @description From 0. */
                row: number;
                visible: boolean;
            };
            /** @description False when the run's beginning is no longer held: modes set there are unknown. */
            exact: boolean;
            /**
             * Format: int64
             * @description The bytes that were drawn.
             */
            offset: number;
            rows: number;
            runId: string;
            /** @description Lines separated by newlines, without trailing blanks. */
            text: string;
            title?: string;
        };
        ScreenFrame: {
            /** @description Text and escape sequences that draw the screen, cursor and modes on an empty terminal. */
            data: string;
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            type: "screen";
        };
        SetupRequest: {
            /** @description The remote knows it. */
            defaultBranch?: string;
            gitUrl: string;
            rigId: components["schemas"]["Id"];
        };
        SetupResponse: {
            /** @description By this call. */
            cloned: boolean;
            /** @description At its tip, empty in a repository without commits. */
            commit: string;
            /** @description Of the remote, empty when it names none. */
            defaultBranch: string;
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
            rigId: components["schemas"]["Id"];
        };
        Share: {
            agentId: string;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            expiresAt: string;
            id: string;
            run: string;
        };
        SharedRun: {
            agentId: string;
            /**
             * Format: date-time
             * @description Of the link.
             */
            expiresAt: string;
            /** @description Of the agent. */
            name: string;
            run: string;
            status: components["schemas"]["Status"];
            /** @description It has no terminal: draw the events. */
            structured: boolean;
            townId: string;
        };
        ShareList: {
            /** @description That a link may live; 0 when none can be made. */
            longestSeconds: number;
            shares: components["schemas"]["Share"][];
        };
        ShareMade: {
            agentId: string;
            /** Format: date-time */
            createdAt: string;
            /** Format: date-time */
            expiresAt: string;
            id: string;
            run: string;
            /** @description Relative to the address of this API, unless the setting TOWND_PUBLIC_URL names one. */
            url: string;
        };
        ShareRequest: {
            /** @description The agent's newest run when empty. */
            run?: string;
            /** @description How long the link lives; as long as the town lets it when 0. */
            seconds?: number;
        };
        Standby: {
            /** Format: date-time */
            until: string;
            /** @description For people, as `4 % of claude's requests left`. */
            why: string;
        };
        StartRequest: {
            agentId: components["schemas"]["Id"];
            beadId?: string;
            branch: string;
            /**
             * @default kilo
             * @example claude
             */
            cli?: string;
            /** @default 120 */
            cols?: number;
            /** @description The program and its arguments, with cli `command`. */
            command?: string[];
            defaultBranch?: string;
            /**
             * @description How hard the model thinks; the CLI's default when absent.
             * @enum {string}
             */
            effort?: "low" | "medium" | "high" | "xhigh" | "max";
            /** @description Arrive exactly. PATH, HOME, LD_*, GIT_* and TOWND_* are refused. */
            envVars?: {
                [key: string]: string;
            };
            /**
             * @description With resume: go on in a copy of that session.
             * @default false
             */
            fork?: boolean;
            /**
             * Format: int64
             * @default 0
             */
            generation?: number;
            gitUrl: string;
            identity?: string;
            limits?: components["schemas"]["Limits"];
            model?: string;
            name: string;
            prompt?: string;
            restart?: components["schemas"]["RestartPolicy"];
            /**
             * @description Go on with the CLI's earlier session of this agent.
             * @default false
             */
            resume?: boolean;
            rigId: components["schemas"]["Id"];
            role: components["schemas"]["Role"];
            /** @default 40 */
            rows?: number;
            /** @description Ref or commit to branch from; the default branch when absent. */
            startPoint?: string;
            /** @description Rendered by the town when empty or absent. */
            systemPrompt?: string;
            townId: components["schemas"]["Id"];
        };
        StartResponse: components["schemas"]["Agent"] & {
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
        };
        /** @enum {string} */
        Status: "starting" | "running" | "stopping" | "exited" | "failed";
        StopRequest: {
            /**
             * @description From SIGTERM to SIGKILL.
             * @default 10
             */
            graceSeconds?: number | null;
            /**
             * @default SIGTERM
             * @enum {string}
             */
            signal?: "" | "SIGTERM" | "SIGKILL";
        };
        StopResponse: {
            agent: components["schemas"]["Agent"];
            /** @enum {boolean} */
            stopped: true;
        };
        /** @description A text frame of a stream, from the town. */
        StreamFrame: components["schemas"]["HelloFrame"] | components["schemas"]["ScreenFrame"] | components["schemas"]["ResizeFrame"] | components["schemas"]["EventFrame"] | components["schemas"]["GapFrame"] | components["schemas"]["ModeFrame"] | components["schemas"]["ErrorFrame"] | components["schemas"]["ExitFrame"];
        SyncRequest: {
            /** @description By rig id: RigSettings, of which `git` is used and the rest may be left out. */
            rigs?: {
                [key: string]: {
                    git?: components["schemas"]["GitSettings"];
                    gitUrl?: string;
                };
            };
        };
        SyncResponse: {
            /** @description Fields of the request that this town does not know. */
            ignored?: string[];
            /** @enum {boolean} */
            synced: true;
        };
        SystemPromptRequest: {
            systemPrompt: string;
        };
        /** @enum {string} */
        TicketMode: "read" | "write";
        TicketRequest: {
            /**
             * @default read
             * @enum {string}
             */
            mode?: "" | "read" | "write";
        };
        TicketResponse: {
            /** Format: date-time */
            expiresAt: string;
            ticket: string;
            /** @description Opens the stream; relative to the address of the server that answered. */
            url: string;
        };
        TownAgent: {
            activeTools: string[];
            agentId: components["schemas"]["Id"];
            beadId?: components["schemas"]["Id"];
            /** Format: int64 */
            generation: number;
            lastEventType?: string;
            lastSeenAt: components["schemas"]["Instant"];
            name: string;
            /** @description As of an Agent; earlier containers have other words. */
            reason?: string;
            resources: components["schemas"]["Resources"];
            rigId: string;
            role: components["schemas"]["Role"];
            runId?: string;
            /** @description Its own last gt_status. */
            says?: string;
            /** Format: date-time */
            startedAt?: string;
            status: components["schemas"]["Status"];
            turn: components["schemas"]["Turn"];
            usage: components["schemas"]["Usage"];
            /** @description What it does, for people. */
            why: string;
        };
        TownAgentList: {
            agents: components["schemas"]["TownAgent"][];
        };
        TownRig: {
            cli?: string;
            /** @description With cli command. */
            command?: string[];
            createdAt: components["schemas"]["Instant"];
            /** @description The remote's own when empty. */
            defaultBranch?: string;
            /** @description Of its agents. */
            envVars?: {
                [key: string]: string;
            };
            gates?: components["schemas"]["Gate"][];
            git?: components["schemas"]["GitSettings"];
            gitUrl: string;
            limits?: components["schemas"]["Limits"];
            /** @description Polecats at once; 5 when 0. */
            maxAgents?: number;
            merge?: components["schemas"]["MergeSettings"];
            model?: string;
            paused?: boolean;
            rigId: components["schemas"]["Id"];
            updatedAt: components["schemas"]["Instant"];
        };
        TownRigList: {
            rigs: components["schemas"]["TownRig"][];
        };
        TownSettings: {
            /** @description While less than that many percent of a model provider's quota are left, no agents are started; 0 for never. */
            minQuotaPercent?: number;
            /** @description Why nothing is handed out; empty goes on. */
            paused?: string;
        };
        TownStatus: {
            /** @description Live ones. */
            agents: components["schemas"]["TownAgent"][];
            /** @description How many there are in each status. */
            beads: {
                [key: string]: number;
            };
            escalations: components["schemas"]["Escalation"][];
            /** @description Null before its first heartbeat. */
            instance: components["schemas"]["InstanceStatus"] | null;
            /** @description Not ended. */
            merges: components["schemas"]["Merge"][];
            /** @description Below which no agents are started; absent for never. */
            minQuotaPercent?: number;
            /** @description Why nothing is handed out. */
            paused?: string;
            questions: components["schemas"]["Question"][];
            /** @description The last that a heartbeat brought. */
            quota?: components["schemas"]["Quota"];
            rigs: components["schemas"]["TownRig"][];
            /** @description While no agents are started because of the quota. */
            standby?: components["schemas"]["Standby"];
            townId: components["schemas"]["Id"];
            /** @description Open; the next first. */
            waiting: components["schemas"]["Bead"][];
        };
        Turn: {
            /**
             * Format: int64
             * @description Turns begun.
             */
            count: number;
            /** @enum {string} */
            state: "none" | "working" | "idle";
        };
        UpdateResponse: {
            updated: boolean;
        };
        /** @description Since the start, as the CLI reports it. */
        Usage: {
            /** Format: int64 */
            cacheReadTokens: number;
            /** Format: int64 */
            cacheWriteTokens: number;
            costUsd: number;
            /** Format: int64 */
            inputTokens: number;
            /** Format: int64 */
            outputTokens: number;
            /** Format: int64 */
            toolCalls: number;
        };
    };
    responses: {
        /** @description The request is wrong; `issues` names each field. */
        BadRequest: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "type": "about:blank",
                 *       "title": "Bad Request",
                 *       "status": 400,
                 *       "detail": "invalid: agentId is required",
                 *       "error": "Invalid request body",
                 *       "issues": [
                 *         {
                 *           "path": "agentId",
                 *           "message": "is required"
                 *         }
                 *       ]
                 *     }
                 */
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description No capacity; come back after `Retry-After` seconds. */
        Busy: {
            headers: {
                "Retry-After": number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description What is asked contradicts what is. */
        Conflict: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description A foreign Host or Origin, or a ticket for another agent. */
        Forbidden: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description It was held once and is no longer. */
        Gone: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description There is no such agent, or no such path. */
        NotFound: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                /**
                 * @example {
                 *       "type": "about:blank",
                 *       "title": "Not Found",
                 *       "status": 404,
                 *       "detail": "agent \"a9\": not found",
                 *       "error": "agent \"a9\": not found"
                 *     }
                 */
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Another error. */
        Problem: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The body is larger than is taken. */
        TooLarge: {
            headers: {
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description All that is held. */
        Transcript: {
            headers: {
                /** @description The first offset still held. */
                "X-Townd-First-Offset"?: number;
                /** @description The run. */
                "X-Townd-Run-Id"?: string;
                [name: string]: unknown;
            };
            content: {
                "application/octet-stream": string;
                "application/x-asciicast": string;
            };
        };
        /** @description The range is outside of what is held; the headers and the text say what is. */
        TranscriptElsewhere: {
            headers: {
                /** @description The first offset still held. */
                "X-Townd-First-Offset"?: number;
                /** @description The run. */
                "X-Townd-Run-Id"?: string;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description The range. */
        TranscriptRange: {
            headers: {
                /** @description The first offset still held. */
                "X-Townd-First-Offset"?: number;
                /** @description The run. */
                "X-Townd-Run-Id"?: string;
                [name: string]: unknown;
            };
            content: {
                "application/octet-stream": string;
                "multipart/byteranges": string;
            };
        };
        /** @description No token, or not this town's; for a stream, no valid ticket; under `/shared`, no link that opens something. */
        Unauthorized: {
            headers: {
                "WWW-Authenticate"?: string;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
        /** @description Not now; the town is ending or starting. */
        Unavailable: {
            headers: {
                "Retry-After": number;
                [name: string]: unknown;
            };
            content: {
                "application/problem+json": components["schemas"]["Problem"];
            };
        };
    };
    parameters: {
        /**
         * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
         *     calls, or the town itself.
         */
        actingAgent: components["schemas"]["Id"];
        /** @description Only events with a greater id, as `<id>` or `<epoch>:<id>`. */
        afterEvent: string;
        agentId: components["schemas"]["Id"];
        beadId: components["schemas"]["Id"];
        convoyId: components["schemas"]["Id"];
        escalationId: components["schemas"]["Id"];
        eventLimit: number;
        /** @description `asciicast` for a recording in asciicast v2, with timing and sizes. */
        format: "raw" | "asciicast";
        id: components["schemas"]["Id"];
        /**
         * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
         *     is refused with 409.
         */
        idempotencyKey: string;
        lastEventId: string;
        mergeId: components["schemas"]["Id"];
        questionId: components["schemas"]["Id"];
        /** @example bytes=4096- */
        range: string;
        rigId: components["schemas"]["Id"];
        /** @description An earlier run of the agent; its newest when absent. */
        run: components["schemas"]["Id"];
        /** @description The coordinator knows one; any other is 404. */
        townId: components["schemas"]["Id"];
    };
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    listAgents: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description In the order of their ids. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentList"];
                };
            };
            401: components["responses"]["Unauthorized"];
            default: components["responses"]["Problem"];
        };
    };
    deleteAgent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Forgotten. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "deleted": true
                     *     }
                     */
                    "application/json": components["schemas"]["DeleteResponse"];
                };
            };
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            default: components["responses"]["Problem"];
        };
    };
    diff: {
        parameters: {
            query?: {
                /** @description How much of the patch to send. */
                maxBytes?: number;
            };
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description As JSON, or the patch alone with `Accept: text/x-diff`. */
            200: {
                headers: {
                    /** @description Whether the patch was cut at maxBytes. */
                    "X-Townd-Truncated"?: boolean;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Diff"];
                    "text/x-diff": string;
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            default: components["responses"]["Problem"];
        };
    };
    events: {
        parameters: {
            query?: {
                /** @description Only events with a greater id, as `<id>` or `<epoch>:<id>`. */
                after?: components["parameters"]["afterEvent"];
                limit?: components["parameters"]["eventLimit"];
            };
            header?: {
                "Last-Event-ID"?: components["parameters"]["lastEventId"];
            };
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The events in order. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "epoch": "06e1v0c8k3w1x9m2q4r7t5y6za",
                     *       "events": [
                     *         {
                     *           "id": 1,
                     *           "event": "state",
                     *           "data": {
                     *             "status": "running"
                     *           },
                     *           "timestamp": "2026-11-21T09:00:01Z"
                     *         }
                     *       ],
                     *       "next": 1
                     *     }
                     */
                    "application/json": components["schemas"]["EventPage"];
                    "text/event-stream": string;
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    messageAgent: {
        parameters: {
            query?: never;
            header?: {
                /** @description The same key again sends nothing and answers with the first message's id. */
                "Idempotency-Key"?: string;
            };
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "prompt": "Please also update the README.",
                 *       "deliver": "turn-end"
                 *     }
                 */
                "application/json": components["schemas"]["MessageRequest"];
            };
        };
        responses: {
            /** @description Accepted; `message` events tell how far it got. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "sent": true,
                     *       "messageId": "06e1v0c8k3w1x9m2q4r7t5y6za"
                     *     }
                     */
                    "application/json": components["schemas"]["MessageResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            503: components["responses"]["Unavailable"];
            default: components["responses"]["Problem"];
        };
    };
    setModel: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "model": "anthropic/claude-sonnet-4"
                 *     }
                 */
                "application/json": components["schemas"]["ModelRequest"];
            };
        };
        responses: {
            /** @description Noted. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "updated": true
                     *     }
                     */
                    "application/json": components["schemas"]["UpdateResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    resizeAgent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "cols": 120,
                 *       "rows": 40
                 *     }
                 */
                "application/json": components["schemas"]["ResizeRequest"];
            };
        };
        responses: {
            /** @description Sized. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "resized": true,
                     *       "cols": 120,
                     *       "rows": 40
                     *     }
                     */
                    "application/json": components["schemas"]["ResizeResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            default: components["responses"]["Problem"];
        };
    };
    screen: {
        parameters: {
            query?: {
                /** @description An earlier run of the agent; its newest when absent. */
                run?: components["parameters"]["run"];
            };
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description As JSON, or the text alone with `Accept: text/plain`. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Screen"];
                    "text/plain": string;
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            410: components["responses"]["Gone"];
            default: components["responses"]["Problem"];
        };
    };
    shareRun: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "seconds": 3600
                 *     }
                 */
                "application/json": components["schemas"]["ShareRequest"];
            };
        };
        responses: {
            /** @description Made. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "id": "06e1v0c8k3w1x9m2q4r7t5y6za",
                     *       "agentId": "a1",
                     *       "run": "06e1v0c8k3w1x9m2q4r7t5y6zb",
                     *       "createdAt": "2026-11-21T09:00:00Z",
                     *       "expiresAt": "2026-11-21T10:00:00Z",
                     *       "url": "/#/shared/06e1v0c8k3w1x9m2q4r7t5y6za.3q2-7wX1mK5pZt0cV8bN4rL6sD9fG2hJ1kQ7wE3yU5i"
                     *     }
                     */
                    "application/json": components["schemas"]["ShareMade"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["Busy"];
            default: components["responses"]["Problem"];
        };
    };
    agentStatus: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The agent. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Agent"];
                };
            };
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    stopAgent: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "signal": "SIGTERM",
                 *       "graceSeconds": 10
                 *     }
                 */
                "application/json": components["schemas"]["StopRequest"];
            };
        };
        responses: {
            /** @description Stopped. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StopResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    stream: {
        parameters: {
            query?: {
                /**
                 * @description Where to begin: a position `<runId>:<offset>`; `screen`, a drawing of the screen as it is, then what
                 *     follows; `live`, only what follows. When absent, the start of the newest run. A position of an
                 *     earlier run of the agent is served to that run's end. A run that is not the agent's or is no longer
                 *     held, and an offset beyond the end, are refused with 400.
                 */
                after?: string;
                /**
                 * @description Send the agent's events with ids above this one, as `<epoch>:<id>` or `<id>`; without it, those that
                 *     happen from now on. hello's `epoch` and `eventId` tell where they begin.
                 */
                events?: string;
                /** @description May come as the WebSocket protocol `ticket.<ticket>` instead. */
                ticket?: string;
            };
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The stream. */
            101: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            /** @description Not a WebSocket handshake. */
            426: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    streamTicket: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "mode": "read"
                 *     }
                 */
                "application/json": components["schemas"]["TicketRequest"];
            };
        };
        responses: {
            /** @description The ticket. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "ticket": "3q2-7wX1mK5pZt0cV8bN4rL6sD9fG2hJ1kQ7wE3yU5i",
                     *       "expiresAt": "2026-11-21T09:02:00Z",
                     *       "url": "/agents/a1/stream?ticket=3q2-7wX1mK5pZt0cV8bN4rL6sD9fG2hJ1kQ7wE3yU5i"
                     *     }
                     */
                    "application/json": components["schemas"]["TicketResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            429: components["responses"]["Busy"];
            default: components["responses"]["Problem"];
        };
    };
    setSystemPrompt: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "systemPrompt": "You review what others wrote."
                 *     }
                 */
                "application/json": components["schemas"]["SystemPromptRequest"];
            };
        };
        responses: {
            /** @description Noted. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "updated": true
                     *     }
                     */
                    "application/json": components["schemas"]["UpdateResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    transcript: {
        parameters: {
            query?: {
                /** @description `asciicast` for a recording in asciicast v2, with timing and sizes. */
                format?: components["parameters"]["format"];
                /** @description An earlier run of the agent; its newest when absent. */
                run?: components["parameters"]["run"];
            };
            header?: {
                /** @example bytes=4096- */
                Range?: components["parameters"]["range"];
            };
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Transcript"];
            206: components["responses"]["TranscriptRange"];
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            410: components["responses"]["Gone"];
            416: components["responses"]["TranscriptElsewhere"];
            default: components["responses"]["Problem"];
        };
    };
    startAgent: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "agentId": "a1",
                 *       "rigId": "r1",
                 *       "townId": "t1",
                 *       "role": "polecat",
                 *       "name": "Toast",
                 *       "identity": "Toast-polecat-r1",
                 *       "prompt": "Fix the failing test.",
                 *       "model": "anthropic/claude-sonnet-4.5",
                 *       "gitUrl": "https://github.com/acme/site.git",
                 *       "branch": "polecat/Toast/6f2c1a90",
                 *       "defaultBranch": "main",
                 *       "beadId": "6f2c1a90-8f5b-4a2e-9f57-0c2b6f1d3a11",
                 *       "cli": "claude",
                 *       "envVars": {
                 *         "CI": "true"
                 *       },
                 *       "limits": {
                 *         "seconds": 3600
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["StartRequest"];
            };
        };
        responses: {
            /** @description The identical request already runs. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartResponse"];
                };
            };
            /** @description Started; the program runs. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StartResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            /** @description The agent's program could not be run. */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            429: components["responses"]["Busy"];
            /** @description The git remote refused, hung or could not be reached. */
            502: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            503: components["responses"]["Unavailable"];
            /** @description No space is left on the disk. */
            507: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    listTownAgents: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Live ones first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TownAgentList"];
                };
            };
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    ask: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "question": "Which one?",
                 *       "options": [
                 *         "this",
                 *         "that"
                 *       ],
                 *       "waitSeconds": 600
                 *     }
                 */
                "application/json": components["schemas"]["AskRequest"];
            };
        };
        responses: {
            /** @description Asked. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Question"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    saveCheckpoint: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "epoch": 1,
                 *       "data": {
                 *         "step": "tests"
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["CheckpointRequest"];
            };
        };
        responses: {
            /** @description Kept. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BeadAnswer"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    agentCompleted: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Completion"];
            };
        };
        responses: {
            /** @description Taken. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CompletedAnswer"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    done: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "epoch": 1,
                 *       "branch": "polecat/toast/6f2c1a90",
                 *       "commit": "3f1c0ffee0a1b2c3d4e5f60718293a4b5c6d7e8f",
                 *       "summary": "Reads the last line"
                 *     }
                 */
                "application/json": components["schemas"]["DoneRequest"];
            };
        };
        responses: {
            /** @description Taken. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DoneAnswer"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    agentMail: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Oldest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MailList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    ackMail: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AckRequest"];
            };
        };
        responses: {
            /** @description How many were not acknowledged before. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Acked"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    nudge: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NudgeRequest"];
            };
        };
        responses: {
            /** @description Ordered. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Nudged"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    prime: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Prime"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    requestChanges: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChangesRequest"];
            };
        };
        responses: {
            /** @description The bead of the branch, open again. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BeadAnswer"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    sayStatus: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SayRequest"];
            };
        };
        responses: {
            /** @description Told. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TownAgent"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    orderStop: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ReasonRequest"];
            };
        };
        responses: {
            /** @description Ordered. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Ordered"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    listBeads: {
        parameters: {
            query?: {
                /** @description The next of the page before. */
                after?: string;
                /** @description That this agent has, or had last. */
                agent?: string;
                /** @description Of this convoy. */
                convoy?: string;
                /** @description With this label. */
                label?: string;
                /** @description How many at most. */
                limit?: number;
                /** @description Text in its title, body or id, in upper or lower case. */
                q?: string;
                /** @description Of this rig. */
                rig?: string;
                /** @description In this status. */
                status?: components["schemas"]["BeadStatus"];
                /** @description Of this type. */
                type?: components["schemas"]["BeadType"];
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BeadList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    getBead: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The bead. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bead"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    patchBead: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "priority": "critical",
                 *       "hold": ""
                 *     }
                 */
                "application/json": components["schemas"]["BeadPatch"];
            };
        };
        responses: {
            /** @description As it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bead"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    closeBead: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["CloseRequest"];
            };
        };
        responses: {
            /** @description As it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bead"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    listNotes: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Oldest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["NoteList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    addNote: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NoteRequest"];
            };
        };
        responses: {
            /** @description Written. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Note"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    retryBead: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                beadId: components["parameters"]["beadId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ReasonRequest"];
            };
        };
        responses: {
            /** @description Open. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bead"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    listConvoys: {
        parameters: {
            query?: {
                /** @description Of this rig. */
                rig?: string;
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Newest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConvoyList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    createConvoy: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "rigId": "site",
                 *       "title": "New parser",
                 *       "tasks": [
                 *         {
                 *           "title": "Write it"
                 *         },
                 *         {
                 *           "title": "Use it",
                 *           "dependsOn": [
                 *             0
                 *           ]
                 *         }
                 *       ]
                 *     }
                 */
                "application/json": components["schemas"]["ConvoyRequest"];
            };
        };
        responses: {
            /** @description Made. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ConvoyMade"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    getConvoy: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                convoyId: components["parameters"]["convoyId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The convoy. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Convoy"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    addToConvoy: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                convoyId: components["parameters"]["convoyId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ConvoyBeadRequest"];
            };
        };
        responses: {
            /** @description As it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Convoy"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    closeConvoy: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                convoyId: components["parameters"]["convoyId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ReasonRequest"];
            };
        };
        responses: {
            /** @description As it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Convoy"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    startConvoy: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                convoyId: components["parameters"]["convoyId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description As it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Convoy"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            default: components["responses"]["Problem"];
        };
    };
    listEscalations: {
        parameters: {
            query?: {
                /** @description In this status. */
                status?: "open" | "acknowledged" | "closed";
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Newest first, at most 500. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EscalationList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    escalate: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["EscalationRequest"];
            };
        };
        responses: {
            /** @description Counted up. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Escalation"] & components["schemas"]["Ignored"];
                };
            };
            /** @description Made. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Escalation"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    acknowledgeEscalation: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                escalationId: components["parameters"]["escalationId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["EscalationAnswer"];
            };
        };
        responses: {
            /** @description As it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Escalation"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    closeEscalation: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                escalationId: components["parameters"]["escalationId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["EscalationAnswer"];
            };
        };
        responses: {
            /** @description As it is now. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Escalation"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    townEvents: {
        parameters: {
            query?: {
                /** @description The next of the page before. */
                after?: number;
                /** @description Of this agent. */
                agent?: string;
                /** @description Of this bead. */
                bead?: string;
                /** @description How many at most. */
                limit?: number;
                /** @description Of this rig. */
                rig?: string;
                /** @description When there is none, wait so many seconds for one. */
                wait?: number;
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentEventPage"];
                    "text/event-stream": string;
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    appendEvents: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AgentEventBatch"];
            };
        };
        responses: {
            /** @description How many were new. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Accepted"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    heartbeat: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Heartbeat"];
            };
        };
        responses: {
            /** @description Go on. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HeartbeatReply"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            410: components["responses"]["Gone"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    listMail: {
        parameters: {
            query?: {
                /** @description Also what is acknowledged. */
                all?: boolean;
                /** @description To this agent. */
                to?: string;
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Oldest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MailList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    sendMail: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "to": "mayor",
                 *       "subject": "Ready",
                 *       "body": "The parser is done."
                 *     }
                 */
                "application/json": components["schemas"]["MailRequest"];
            };
        };
        responses: {
            /** @description Sent; it waits until it is acknowledged. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Mail"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    listMerges: {
        parameters: {
            query?: {
                /** @description Of this rig. */
                rig?: string;
                /** @description In this status. */
                status?: components["schemas"]["MergeStatus"];
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description In the order they were made, at most the newest 500. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MergeList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    listQuestions: {
        parameters: {
            query?: {
                /** @description In this status. */
                status?: "open" | "answered" | "expired" | "cancelled";
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Newest first, at most 500. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["QuestionList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    getQuestion: {
        parameters: {
            query?: {
                /** @description Answer as soon as it is no longer open, after so long at the latest. */
                waitSeconds?: number;
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                questionId: components["parameters"]["questionId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The question. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Question"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    answerQuestion: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                questionId: components["parameters"]["questionId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AnswerRequest"];
            };
        };
        responses: {
            /** @description Answered. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Question"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    cancelQuestion: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                questionId: components["parameters"]["questionId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Cancelled. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Question"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            default: components["responses"]["Problem"];
        };
    };
    listTownRigs: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description In the order of their ids. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TownRigList"];
                };
            };
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    getRig: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The rig. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TownRig"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    putRig: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "gitUrl": "https://github.com/acme/site.git",
                 *       "cli": "claude",
                 *       "gates": [
                 *         {
                 *           "command": "make test"
                 *         }
                 *       ]
                 *     }
                 */
                "application/json": components["schemas"]["RigSettings"];
            };
        };
        responses: {
            /** @description Changed. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TownRig"] & components["schemas"]["Ignored"];
                };
            };
            /** @description Made. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TownRig"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    deleteRig: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Forgotten. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeleteResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            default: components["responses"]["Problem"];
        };
    };
    rigAgentCompleted: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
            };
            path: {
                agentId: components["parameters"]["agentId"];
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Completion"];
            };
        };
        responses: {
            /** @description Taken. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CompletedAnswer"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    agentHeartbeat: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                agentId: components["parameters"]["agentId"];
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AgentHeartbeatRequest"];
            };
        };
        responses: {
            /** @description Seen. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HeartbeatSeen"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    createBead: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "type": "bug",
                 *       "title": "The parser loses the last line",
                 *       "body": "See issue 12.",
                 *       "priority": "high",
                 *       "labels": [
                 *         "parser"
                 *       ],
                 *       "dedupeKey": "github:acme/site#12"
                 *     }
                 */
                "application/json": components["schemas"]["BeadRequest"];
            };
        };
        responses: {
            /** @description There was one with the dedupeKey. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bead"] & components["schemas"]["Ignored"];
                };
            };
            /** @description Made. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Bead"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    mergeCompleted: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The same key again does nothing and answers as the first time, for at least 24 hours. With another call or body it
                 *     is refused with 409.
                 */
                "Idempotency-Key"?: components["parameters"]["idempotencyKey"];
            };
            path: {
                mergeId: components["parameters"]["mergeId"];
                rigId: components["parameters"]["rigId"];
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "entryId": "06e1v0c8k3w1x9m2q4r7t5y6za",
                 *       "status": "merged",
                 *       "message": "merged",
                 *       "commit": "3f1c0ffee0a1b2c3d4e5f60718293a4b5c6d7e8f"
                 *     }
                 */
                "application/json": components["schemas"]["MergeOutcome"];
            };
        };
        responses: {
            /** @description Taken. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CompletedAnswer"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    listRuns: {
        parameters: {
            query?: {
                /** @description The next of the page before. */
                after?: string;
                /** @description Of this agent. */
                agent?: string;
                /** @description Of this bead. */
                bead?: string;
                /** @description How many at most. */
                limit?: number;
            };
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page, newest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RunList"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    patchTown: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "paused": "the host is being repaired"
                 *     }
                 */
                "application/json": components["schemas"]["TownSettings"];
            };
        };
        responses: {
            /** @description The town. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TownStatus"] & components["schemas"]["Ignored"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    townStatus: {
        parameters: {
            query?: never;
            header?: {
                /**
                 * @description The agent that a container calls for. It may act as itself only, within its role: else 403. Without it a person
                 *     calls, or the town itself.
                 */
                "X-Townd-Agent"?: components["parameters"]["actingAgent"];
            };
            path: {
                /** @description The coordinator knows one; any other is 404. */
                townId: components["parameters"]["townId"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The town. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TownStatus"];
                };
            };
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    listCLIs: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description In the order shown to people. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "clis": [
                     *         {
                     *           "name": "claude",
                     *           "program": "claude",
                     *           "path": "/usr/local/bin/claude",
                     *           "version": "2.1.329",
                     *           "tested": "2.1.329",
                     *           "inRange": true,
                     *           "installed": true,
                     *           "install": "npm install -g @anthropic-ai/claude-code@2.1.329",
                     *           "credential": true
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["CLIList"];
                };
            };
            401: components["responses"]["Unauthorized"];
            default: components["responses"]["Problem"];
        };
    };
    drain: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                /**
                 * @example {
                 *       "deadlineSeconds": 600
                 *     }
                 */
                "application/json": components["schemas"]["DrainRequest"];
            };
        };
        responses: {
            /** @description What was saved where. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "agents": [
                     *         {
                     *           "agentId": "a1",
                     *           "branch": "polecat/toast/6f2c1a90",
                     *           "status": "running",
                     *           "checkpoint": {
                     *             "ref": "refs/town/checkpoints/a1",
                     *             "commit": "3f1c0ffee0a1b2c3d4e5f60718293a4b5c6d7e8f",
                     *             "pushed": true,
                     *             "leftOut": [
                     *               {
                     *                 "path": ".env.local",
                     *                 "why": "a file for secrets by its name"
                     *               }
                     *             ],
                     *             "leftOutCount": 1
                     *           }
                     *         },
                     *         {
                     *           "agentId": "a2",
                     *           "branch": "polecat/maple/0b7d9e11",
                     *           "status": "running"
                     *         }
                     *       ]
                     *     }
                     */
                    "application/json": components["schemas"]["Manifest"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    merge: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "rigId": "site",
                 *       "branch": "polecat/toast/6f2c1a90",
                 *       "targetBranch": "main",
                 *       "gates": [
                 *         {
                 *           "name": "test",
                 *           "command": "make test",
                 *           "timeoutSeconds": 300
                 *         }
                 *       ]
                 *     }
                 */
                "application/json": components["schemas"]["MergeRequest"];
            };
        };
        responses: {
            /** @description Merged, or why not. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "status": "conflict",
                     *       "message": "1 file conflicts",
                     *       "target": "main",
                     *       "commit": "",
                     *       "head": "3f1c0ffee0a1b2c3d4e5f60718293a4b5c6d7e8f",
                     *       "base": "9a8b7c6d5e4f30212f1e0d9c8b7a695847362514",
                     *       "conflicts": [
                     *         {
                     *           "path": "README.md",
                     *           "kind": "contents",
                     *           "hunks": "<<<<<<< main\none\n=======\ntwo\n>>>>>>> polecat/toast/6f2c1a90\n"
                     *         }
                     *       ],
                     *       "truncated": false,
                     *       "gates": [],
                     *       "attempts": 1,
                     *       "branchDeleted": false
                     *     }
                     */
                    "application/json": components["schemas"]["MergeResult"];
                };
            };
            /** @description It is done after this answer, and the outcome told to the coordinator. */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "status": "accepted",
                     *       "message": "the outcome of entry 4tg3 is told to the coordinator"
                     *     }
                     */
                    "application/json": components["schemas"]["MergeAccepted"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    pullRequest: {
        parameters: {
            query: {
                branch: string;
                rigId: components["schemas"]["Id"];
                /** @description The forge's default branch when empty. */
                targetBranch?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The pull request. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "number": 17,
                     *       "url": "https://github.com/acme/site/pull/17",
                     *       "title": "Toast the bread",
                     *       "state": "open",
                     *       "draft": false,
                     *       "branch": "polecat/toast/6f2c1a90",
                     *       "target": "main",
                     *       "head": "3f1c0ffee0a1b2c3d4e5f60718293a4b5c6d7e8f",
                     *       "mergeable": true,
                     *       "checked": "failed",
                     *       "checks": [
                     *         {
                     *           "name": "test",
                     *           "state": "failed",
                     *           "url": "https://github.com/acme/site/actions/runs/1"
                     *         }
                     *       ],
                     *       "review": "changes_requested",
                     *       "autoMerge": false,
                     *       "comments": [
                     *         {
                     *           "author": "ada",
                     *           "body": "Why 1?",
                     *           "path": "toast.go",
                     *           "line": 12,
                     *           "when": "2026-01-02T03:04:05Z",
                     *           "verdict": "none"
                     *         }
                     *       ],
                     *       "truncated": false
                     *     }
                     */
                    "application/json": components["schemas"]["PullRequest"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    health: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It works; `degraded` tells what does not work as it should, `draining` that nothing is started any more. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "status": "ok",
                     *       "agents": 2,
                     *       "uptime": 61234,
                     *       "startedAt": "2026-11-21T09:00:00Z",
                     *       "version": "v0.1.0",
                     *       "draining": false,
                     *       "isolation": "uid",
                     *       "killRung": "uid",
                     *       "maxAgents": 256,
                     *       "degraded": [],
                     *       "warnings": [],
                     *       "host": {
                     *         "cpus": 2,
                     *         "load": [
                     *           0.5,
                     *           0.4,
                     *           0.3
                     *         ],
                     *         "memoryTotalBytes": 8589934592,
                     *         "memoryAvailableBytes": 4294967296,
                     *         "diskTotalBytes": 107374182400,
                     *         "diskFreeBytes": 53687091200,
                     *         "sampledAt": "2026-11-21T09:01:00Z"
                     *       }
                     *     }
                     */
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description `unhealthy`: the keeper of the agents' processes is lost. */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    metrics: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The text format of Prometheus, or another that `Accept` asks for. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/openmetrics-text": string;
                    "text/plain": string;
                };
            };
            401: components["responses"]["Unauthorized"];
            default: components["responses"]["Problem"];
        };
    };
    openapi: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description OpenAPI 3.0.3 in JSON. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": Record<string, never>;
                };
            };
            default: components["responses"]["Problem"];
        };
    };
    refreshToken: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "token": "a-new-token",
                 *       "host": "git.example.com"
                 *     }
                 */
                "application/json": components["schemas"]["RefreshTokenRequest"];
            };
        };
        responses: {
            /** @description It is used from now on. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "refreshed": true,
                     *       "agentsRestarted": 0,
                     *       "agentsFailed": 0,
                     *       "results": []
                     *     }
                     */
                    "application/json": components["schemas"]["RefreshTokenResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    setupRepo: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "rigId": "site",
                 *       "gitUrl": "https://github.com/acme/site",
                 *       "defaultBranch": "main"
                 *     }
                 */
                "application/json": components["schemas"]["SetupRequest"];
            };
        };
        responses: {
            /** @description It is ready. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "rigId": "site",
                     *       "cloned": true,
                     *       "defaultBranch": "main",
                     *       "commit": "3f1c0ffee0a1b2c3d4e5f60718293a4b5c6d7e8f"
                     *     }
                     */
                    "application/json": components["schemas"]["SetupResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
    sharedRun: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The run. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "townId": "t1",
                     *       "agentId": "a1",
                     *       "name": "Toast",
                     *       "run": "06e1v0c8k3w1x9m2q4r7t5y6zb",
                     *       "structured": false,
                     *       "status": "running",
                     *       "expiresAt": "2026-11-21T10:00:00Z"
                     *     }
                     */
                    "application/json": components["schemas"]["SharedRun"];
                };
            };
            401: components["responses"]["Unauthorized"];
            default: components["responses"]["Problem"];
        };
    };
    sharedEvents: {
        parameters: {
            query?: {
                /** @description Only events with a greater id, as `<id>` or `<epoch>:<id>`. */
                after?: components["parameters"]["afterEvent"];
                limit?: components["parameters"]["eventLimit"];
            };
            header?: {
                "Last-Event-ID"?: components["parameters"]["lastEventId"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The events in order. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventPage"];
                    "text/event-stream": string;
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            409: components["responses"]["Conflict"];
            default: components["responses"]["Problem"];
        };
    };
    sharedStreamTicket: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["TicketRequest"];
            };
        };
        responses: {
            /** @description The ticket. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TicketResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            403: components["responses"]["Forbidden"];
            409: components["responses"]["Conflict"];
            413: components["responses"]["TooLarge"];
            429: components["responses"]["Busy"];
            default: components["responses"]["Problem"];
        };
    };
    sharedTranscript: {
        parameters: {
            query?: {
                /** @description `asciicast` for a recording in asciicast v2, with timing and sizes. */
                format?: components["parameters"]["format"];
            };
            header?: {
                /** @example bytes=4096- */
                Range?: components["parameters"]["range"];
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            200: components["responses"]["Transcript"];
            206: components["responses"]["TranscriptRange"];
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            409: components["responses"]["Conflict"];
            410: components["responses"]["Gone"];
            416: components["responses"]["TranscriptElsewhere"];
            default: components["responses"]["Problem"];
        };
    };
    listShares: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description In the order they were made. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ShareList"];
                };
            };
            401: components["responses"]["Unauthorized"];
            default: components["responses"]["Problem"];
        };
    };
    revokeShare: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                id: components["parameters"]["id"];
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Taken back. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "deleted": true
                     *     }
                     */
                    "application/json": components["schemas"]["DeleteResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            404: components["responses"]["NotFound"];
            default: components["responses"]["Problem"];
        };
    };
    syncConfig: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                /**
                 * @example {
                 *       "rigs": {
                 *         "site": {
                 *           "gitUrl": "https://github.com/acme/site",
                 *           "git": {
                 *             "depth": 50,
                 *             "sparse": [
                 *               "web"
                 *             ],
                 *             "quotaBytes": 10000000000
                 *           }
                 *         }
                 *       }
                 *     }
                 */
                "application/json": components["schemas"]["SyncRequest"];
            };
        };
        responses: {
            /** @description They are used from now on. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    /**
                     * @example {
                     *       "synced": true
                     *     }
                     */
                    "application/json": components["schemas"]["SyncResponse"];
                };
            };
            400: components["responses"]["BadRequest"];
            401: components["responses"]["Unauthorized"];
            413: components["responses"]["TooLarge"];
            default: components["responses"]["Problem"];
        };
    };
}
